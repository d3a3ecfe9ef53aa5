"""Areas for tests: a piece of a country as it was, and trees of any shape."""

from hypothesis import strategies as st

from nvr.network_catalog.types import Area

PROVINCE = (
    Area("VN", "Việt Nam", None, "country"),
    Area("38", "Tỉnh Thanh Hóa", "VN", "province"),
    Area("38-380", "Thành phố Thanh Hóa", "38", "district"),
    Area("38-381", "Thị xã Bỉm Sơn", "38", "district"),
    Area("38-394", "Huyện Yên Định", "38", "district"),
    Area("14757", "Phường Hàm Rồng", "38-380", "ward"),
    Area("14760", "Phường Đông Thọ", "38-380", "ward"),
    Area("14815", "Phường Ba Đình", "38-381", "ward"),
    Area("15448", "Thị trấn Quán Lào", "38-394", "township"),
    Area("15457", "Xã Yên Thọ", "38-394", "commune"),
    Area("01", "Thành phố Hà Nội", "VN", "province"),
    Area("01-001", "Quận Ba Đình", "01", "district"),
    Area("01-020", "Huyện Thanh Trì", "01", "district"),
    Area("00001", "Phường Phúc Xá", "01-001", "ward"),
)

codes = st.integers(0, 40).map("a{}".format)
names = st.sampled_from(["Thanh Hóa", "Tân Lập", "Tấn Lập", "Xã Tân Lập", "Phường 1", "Đông Sơn", "Ea H'leo"])
levels = st.sampled_from(["province", "district", "commune", "hamlet"])


@st.composite
def trees(draw: st.DrawFn, *, least: int = 1, most: int = 16) -> list[Area]:
    """Areas that form a tree, in any order."""
    count = draw(st.integers(least, most))
    areas = [
        Area(
            f"a{number}",
            draw(names),
            f"a{draw(st.integers(0, number - 1))}" if number else None,
            draw(levels),
        )
        for number in range(count)
    ]
    return draw(st.permutations(areas))
