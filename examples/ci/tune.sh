#!/bin/sh
# Tune in a pipeline, and decide by the exit code.
#
#   sh tune.sh [study.yaml]
#
# TUNEUP_URL and TUNEUP_API_KEY name the service. The best parameters land in tuned.json, the whole answer in
# answer.json, both in the folder where this runs.
set -u

study=${1:-study.yaml}
limit=${TUNE_TIMEOUT:-30m}

# An old result must not be taken for this one's, whatever ends this script.
rm -f tuned.json
tuneup run "$study" --json --timeout "$limit" --output tuned.json >answer.json
code=$?

case $code in
0) echo "tuned: the best parameters are in tuned.json" ;;
2) echo "the study in $study is not valid; the faults are listed above" >&2 ;;
5)
    # The study goes on; a job that accepts the best so far may end with success here.
    if [ -f tuned.json ]; then echo "time is spent: tuned.json holds the best so far" >&2; fi
    ;;
130) echo "interrupted; the study goes on running" >&2 ;;
*) echo "tuning did not succeed (exit code $code)" >&2 ;;
esac
exit $code
