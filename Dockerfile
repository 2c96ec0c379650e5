# One image for every part of the service; docker-compose.yml gives each its command.
#
# Build arguments choose PyTorch, which is most of the image:
#   TORCH        the requirement, for instance another version; everything else stays as constraints.txt has it
#   TORCH_INDEX  one more package index to take it from, for instance PyTorch's own for the CPU or for one CUDA version;
#                without it PyTorch is what the default index has, on Linux x86-64 a build with CUDA
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG TORCH="torch==2.13.0"
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/tuneup
WORKDIR /srv/tuneup
# First what changes seldom: the dependencies need the project's metadata, not its code.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN grep -v '^torch==' constraints.txt > /tmp/constraints.txt \
    && /opt/tuneup/bin/pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        --constraint /tmp/constraints.txt "$TORCH"
RUN mkdir -p client/tuneup \
    && /opt/tuneup/bin/pip install --constraint /tmp/constraints.txt --editable '.[worker]'

FROM ${PYTHON_IMAGE}
# Volumes that are mounted there take over whose they are.
RUN useradd --system --uid 10001 --create-home --shell /usr/sbin/nologin tuneup \
    && install --directory --owner tuneup --group tuneup /var/lib/tuneup/checkpoints /var/lib/tuneup/datasets
COPY --from=build /opt/tuneup /opt/tuneup
WORKDIR /srv/tuneup
COPY . .
ENV PATH=/opt/tuneup/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER tuneup
# What trials are stepped by, for this kind of processor; on another one the first trial compiles it anew.
RUN python -m training.compiling
EXPOSE 8000
CMD ["tuneup", "--help"]
