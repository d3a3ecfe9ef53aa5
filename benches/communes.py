"""Where the communes of a province lie, and where their cameras stand.

The sizes are those of one real province: 2,000 recorders with 68 cameras each under 26 districts.
Districts are a grid. In the middle of each is its town: wards of a square kilometre side by side, so
that a circle often touches several. Around it, past a kilometre without cameras, lie rural communes.
"""

import math
import random
from dataclasses import dataclass

from nvr.footage.types import Place

CAMERAS = 68
"""Of a commune: 136,000 on 2,000 recorders."""
_SOUTH, _WEST = 19.3, 104.4
_COLUMNS = 5
_DISTRICT_M = (24_000.0, 36_000.0)
_RURAL_M = (3_000.0, 3_600.0)
_RURAL_COLUMNS, _RURAL_ROWS = 8, 10
_WARD_M, _WARD_COLUMNS = 1_000.0, 4
_METRES_A_DEGREE = 111_320.0
_SPOT_M = 50.0


@dataclass(frozen=True, slots=True)
class Commune:
    """What one recorder watches. ``town``: a ward; ``cameras``: where each stands."""

    number: int
    district: int
    town: bool
    cameras: tuple[Place, ...]

    def spot(self, chance: random.Random) -> Place:
        """Somewhere that a case begins: within some 50 m of a camera, as cameras are hung where they do."""
        stands = chance.choice(self.cameras)
        off = _SPOT_M / _METRES_A_DEGREE
        return Place(
            stands.latitude + chance.uniform(-off, off), stands.longitude + chance.uniform(-off, off)
        )


def communes(count: int, districts: int, towns: int, seed: int = 1) -> list[Commune]:
    """So many, the first ``towns`` of them wards; districts take turns."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        district, town = number % districts, number < towns
        place_in_district = number // districts if town else (number - towns) // districts
        west_m, south_m = _corner(district, place_in_district, town)
        cameras = tuple(_stand(town, west_m, south_m, chance) for _ in range(CAMERAS))
        found.append(Commune(number, district, town, cameras))
    return found


def _corner(district: int, number: int, town: bool) -> tuple[float, float]:
    """Metres from the province's corner to a commune's, both in the south-west."""
    west_m = district % _COLUMNS * _DISTRICT_M[0]
    south_m = district // _COLUMNS * _DISTRICT_M[1]
    if town:
        # The middle, which is left free below, is 6 km by 7.2 km; a town is 4 km by 3 km or less.
        row, column = divmod(number, _WARD_COLUMNS)
        return west_m + 10_000 + column * _WARD_M, south_m + 16_500 + row * _WARD_M
    middle = {
        row * _RURAL_COLUMNS + column
        for row in (_RURAL_ROWS // 2 - 1, _RURAL_ROWS // 2)
        for column in (_RURAL_COLUMNS // 2 - 1, _RURAL_COLUMNS // 2)
    }
    cells = [cell for cell in range(_RURAL_COLUMNS * _RURAL_ROWS) if cell not in middle]
    row, column = divmod(cells[number], _RURAL_COLUMNS)
    return west_m + column * _RURAL_M[0], south_m + row * _RURAL_M[1]


def _stand(town: bool, west_m: float, south_m: float, chance: random.Random) -> Place:
    if town:
        east_m, north_m = chance.uniform(0, _WARD_M), chance.uniform(0, _WARD_M)
    else:
        # Within the commune, 500 m from the next one: who asks around here asks one recorder.
        east_m = min(max(chance.gauss(_RURAL_M[0] / 2, 400), 500), _RURAL_M[0] - 500)
        north_m = min(max(chance.gauss(_RURAL_M[1] / 2, 400), 500), _RURAL_M[1] - 500)
    latitude = _SOUTH + (south_m + north_m) / _METRES_A_DEGREE
    longitude = _WEST + (west_m + east_m) / (_METRES_A_DEGREE * math.cos(math.radians(latitude)))
    return Place(latitude, longitude)
