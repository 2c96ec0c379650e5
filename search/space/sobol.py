"""Sobol's sequence, scrambled by a seed: points that fill the unit cube more evenly than random ones do.

Of any first 2^k points each interval of length 2^-k holds exactly one in every coordinate, and the pairs of early
coordinates are spread as evenly over boxes. Direction numbers are those of S. Joe and F. Y. Kuo ("Constructing Sobol
sequences with better two-dimensional projections", 2008; their table new-joe-kuo-6), scrambled by random lower triangular
matrices and a digital shift (J. Matousek, "On the L2-discrepancy for anchored boxes", 1998), which keeps what is said above.
"""

from search.space.sampling import SOBOL_SALT, Draws

MOST_DIMENSIONS = 64
_BITS = 52  # of a coordinate
_COLUMNS = 32  # of an index
# Of each dimension but the first: its primitive polynomial, as a binary number, and its first direction numbers.
_JOE_KUO = """
3 1; 7 1 3; 11 1 3 1; 13 1 1 1; 19 1 1 3 3; 25 1 3 5 13; 37 1 1 5 5 17; 41 1 1 5 5 5; 47 1 1 7 11 19; 55 1 1 5 1 1;
59 1 1 1 3 11; 61 1 3 5 5 31; 67 1 3 3 9 7 49; 91 1 1 1 15 21 21; 97 1 3 1 13 27 49; 103 1 1 1 15 7 5;
109 1 3 1 15 13 25; 115 1 1 5 5 19 61; 131 1 3 7 11 23 15 103; 137 1 3 7 13 13 15 69; 143 1 1 3 13 7 35 63;
145 1 3 5 9 1 25 53; 157 1 3 1 13 9 35 107; 167 1 3 1 5 27 61 31; 171 1 1 5 11 19 41 61; 185 1 3 5 3 3 13 69;
191 1 1 7 13 1 19 1; 193 1 3 7 5 13 19 59; 203 1 1 3 9 25 29 41; 211 1 3 5 13 23 1 55; 213 1 3 7 3 13 59 17;
229 1 3 1 3 5 53 69; 239 1 1 5 5 23 33 13; 241 1 1 7 7 1 61 123; 247 1 1 7 9 13 61 49; 253 1 3 3 5 3 55 33;
285 1 3 1 15 31 13 49 245; 299 1 3 5 15 31 59 63 97; 301 1 3 1 11 11 11 77 249; 333 1 3 1 11 27 43 71 9;
351 1 1 7 15 21 11 81 45; 355 1 3 7 3 25 31 65 79; 357 1 3 1 1 19 11 3 205; 361 1 1 5 9 19 21 29 157;
369 1 3 7 11 1 33 89 185; 391 1 3 3 3 15 9 79 71; 397 1 3 7 11 15 39 119 27; 425 1 1 3 1 11 31 97 225;
451 1 1 1 3 23 43 57 177; 463 1 3 7 7 17 17 37 71; 487 1 3 1 5 27 63 123 213; 501 1 1 3 5 11 43 53 133;
529 1 3 5 5 29 17 47 173 479; 539 1 3 3 11 3 1 109 9 69; 545 1 1 1 5 17 39 23 5 343; 557 1 3 1 5 25 15 31 103 499;
563 1 1 1 11 11 17 63 105 183; 601 1 1 5 11 9 29 97 231 363; 607 1 1 5 15 19 45 41 7 383;
617 1 3 7 7 31 19 83 137 221; 623 1 1 1 3 23 15 111 223 83; 631 1 1 5 13 31 15 55 25 161;
637 1 1 3 13 25 47 39 87 257
"""


class SobolSequence:
    """The sequence of one seed in `dimensions` (at most 64) coordinates; it holds no state, so any index may be asked for."""

    def __init__(self, dimensions: int, *, seed: int) -> None:
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(f"there are {MOST_DIMENSIONS} dimensions, not {dimensions}")
        self._axes = [_scrambled(column, seed, place) for place, column in enumerate(directions(dimensions))]

    def __call__(self, index: int) -> list[float]:
        """Return the coordinates of a point, 0 <= each < 1; 0 <= index < 2^32."""
        return [_combined(index, columns, shift) * 2.0**-_BITS for columns, shift in self._axes]


def directions(dimensions: int) -> list[list[int]]:
    """Return the direction numbers of each dimension, unscrambled: fractions in units of 2^-52, one for each bit of an index."""
    rows = [[int(number) for number in row.split()] for row in _JOE_KUO.split(";")]
    first = [1 << _BITS - 1 - bit for bit in range(_COLUMNS)]
    return [first, *(_recurrence(row[0], row[1:]) for row in rows)][:dimensions]


def _recurrence(polynomial: int, initial: list[int]) -> list[int]:
    degree = polynomial.bit_length() - 1
    numbers = initial[:degree]
    for place in range(degree, _COLUMNS):
        number = numbers[place - degree]
        for back in range(1, degree + 1):
            if polynomial >> (degree - back) & 1:
                number ^= numbers[place - back] << back
        numbers.append(number)
    return [number << _BITS - 1 - bit for bit, number in enumerate(numbers)]


def _scrambled(columns: list[int], seed: int, dimension: int) -> tuple[list[int], int]:
    """Return the direction numbers times a random lower triangular matrix, and a random shift."""
    draws = Draws(seed, dimension, salt=SOBOL_SALT)
    # A row of the matrix, of the bits from the highest down to its own, which is one.
    rows = [(draws.below(1 << bit) << 1 | 1) << _BITS - 1 - bit for bit in range(_BITS)]
    return [_times(rows, column) for column in columns], draws.below(1 << _BITS)


def _times(rows: list[int], column: int) -> int:
    product = 0
    for row in rows:
        product = product << 1 | (row & column).bit_count() & 1
    return product


def _combined(index: int, columns: list[int], shift: int) -> int:
    for column in columns:
        if not index:
            break
        if index & 1:
            shift ^= column
        index >>= 1
    return shift
