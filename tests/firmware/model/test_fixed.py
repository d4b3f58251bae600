import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.errors import FixedPointError
from firmware.model.fixed import OVERFLOWS, ROUNDINGS, Fixed


@st.composite
def types(draw: st.DrawFn, max_width: int = 30) -> Fixed:
    width = draw(st.integers(1, max_width))
    return Fixed(
        width,
        draw(st.integers(-3, width + 3)),
        draw(st.booleans()),
        draw(st.sampled_from(ROUNDINGS)),
        draw(st.sampled_from(OVERFLOWS)),
    )


@given(types())
def test_the_ap_types_spelling_reads_back_as_the_same_type(fixed: Fixed) -> None:
    assert Fixed.parse(str(fixed)) == fixed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ap_fixed<18,13>", Fixed(18, 13)),
        ("ufixed<10, 6, AP_RND_CONV, AP_SAT>", Fixed(10, 6, False, "RND_CONV", "SAT")),
        ("ap_fixed<8,6,RND>", Fixed(8, 6, True, "RND")),
        ("ap_uint<11>", Fixed(11, 11, False)),
        ("int<8>", Fixed(8, 8)),
    ],
)
def test_prefixes_blanks_and_modes_may_be_left_out(text: str, expected: Fixed) -> None:
    assert Fixed.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fixed<8>",
        "ap_fixed<8,x>",
        "ap_int<8,8>",
        "ap_fixed<8,6,RND,SAT,0>",
        "ap_fixed<0,0>",
        "ap_fixed<63,1>",
        "ap_fixed<8,6,NEAREST>",
        "ap_fixed<8,6,RND,CLIP>",
        "float",
    ],
)
def test_a_faulty_spelling_is_refused(text: str) -> None:
    with pytest.raises(FixedPointError):
        Fixed.parse(text)


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("TRN", [-2, -2, -1, 0, 0, 1, 1]),
        ("TRN_ZERO", [-1, -1, 0, 0, 0, 1, 1]),
        ("RND", [-1, -1, 0, 0, 1, 1, 2]),
        ("RND_CONV", [-2, -1, 0, 0, 0, 1, 2]),
        ("RND_ZERO", [-1, -1, 0, 0, 0, 1, 1]),
        ("RND_INF", [-2, -1, -1, 0, 1, 1, 2]),
        ("RND_MIN_INF", [-2, -1, -1, 0, 0, 1, 1]),
    ],
)
def test_each_rounding_treats_ties_in_its_own_way(rounding: str, expected: list[int]) -> None:
    """The values are -1.5, -1.25, -0.5, 0, 0.5, 1.25 and 1.5, cast to integers."""
    quarters = np.array([-6, -5, -2, 0, 2, 5, 6])
    integer = Fixed(8, 8, rounding=rounding)
    assert integer.cast(quarters, 2).tolist() == expected
    assert integer.quantize(quarters / 4).tolist() == expected


@pytest.mark.parametrize(
    ("overflow", "signed", "unsigned"),
    [
        ("WRAP", [7, -8, -8, 7], [7, 8, 8, 7]),
        ("SAT", [-8, -8, 7, 7], [0, 0, 8, 15]),
        ("SAT_ZERO", [0, -8, 0, 0], [0, 0, 8, 0]),
        ("SAT_SYM", [-7, -7, 7, 7], [0, 0, 8, 15]),
    ],
)
def test_each_overflow_treats_what_does_not_fit_in_its_own_way(
    overflow: str, signed: list[int], unsigned: list[int]
) -> None:
    raw = np.array([-9, -8, 8, 23])
    assert Fixed(4, 4, True, overflow=overflow).cast(raw, 0).tolist() == signed
    assert Fixed(4, 4, False, overflow=overflow).cast(raw, 0).tolist() == unsigned


@given(types(), types(), st.data())
def test_casting_raws_and_quantizing_their_values_agree(source: Fixed, target: Fixed, data: st.DataObject) -> None:
    raw = np.array([data.draw(st.integers(source.min_raw, source.max_raw))])
    assert target.cast(raw, source.frac).tolist() == target.quantize(source.value(raw)).tolist()


@given(types(), st.data())
def test_a_cast_into_the_own_type_changes_nothing_but_the_lowest_of_sat_sym(fixed: Fixed, data: st.DataObject) -> None:
    low = -fixed.max_raw if fixed.overflow == "SAT_SYM" and fixed.signed else fixed.min_raw
    raw = np.array([data.draw(st.integers(low, fixed.max_raw))])
    assert fixed.cast(raw, fixed.frac).tolist() == raw.tolist()


def test_a_saturating_cast_to_more_fractional_bits_cannot_overflow_the_integers() -> None:
    huge = np.array([1 << 61, -(1 << 61)])
    assert Fixed(40, 0, overflow="SAT").cast(huge, 0).tolist() == [(1 << 39) - 1, -(1 << 39)]
    assert Fixed(40, 0, overflow="WRAP").cast(huge + 1, 0).tolist() == [0, 0]


def test_values_far_out_of_range_overflow_like_all_others() -> None:
    values = [2.0**80, -(2.0**80), 2.0**53 + 6]
    assert Fixed(4, 4, overflow="SAT").quantize(values).tolist() == [7, -8, 7]
    assert Fixed(4, 4, overflow="WRAP").quantize(values).tolist() == [0, 0, 6]


def test_a_cast_over_more_bits_than_the_integers_have_is_refused() -> None:
    with pytest.raises(FixedPointError, match="from 100 to 0 fractional bits"):
        Fixed(8, 8).cast(np.array([1]), 100)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_only_finite_values_can_be_quantized(value: float) -> None:
    with pytest.raises(FixedPointError, match="not finite"):
        Fixed(8, 4, overflow="SAT").quantize([0.0, value])


@given(types(max_width=32), st.data())
def test_words_unpack_to_the_raws_that_were_packed(fixed: Fixed, data: st.DataObject) -> None:
    raw = np.array([data.draw(st.integers(fixed.min_raw, fixed.max_raw)) for _ in range(3)])
    words = fixed.pack(raw)
    assert words.dtype == np.uint32
    assert fixed.unpack(words).tolist() == raw.tolist()


def test_words_are_twos_complement_and_bits_above_the_width_are_ignored() -> None:
    fixed = Fixed(6, 3)
    assert fixed.pack([-1, 5]).tolist() == [0xFFFFFFFF, 5]
    assert fixed.unpack(np.array([0x3F, 0xABCD0005], dtype=np.uint32)).tolist() == [-1, 5]


@pytest.mark.parametrize(("fixed", "raw"), [(Fixed(6, 3), 32), (Fixed(6, 3), -33), (Fixed(6, 3, False), -1)])
def test_a_raw_out_of_range_is_not_packed(fixed: Fixed, raw: int) -> None:
    with pytest.raises(FixedPointError, match=f"raw {raw} is outside"):
        fixed.pack([0, raw])


def test_a_type_wider_than_a_word_is_not_packed() -> None:
    with pytest.raises(FixedPointError, match="word of 32 bits"):
        Fixed(33, 33).pack([0])


@given(types(max_width=20), types(max_width=20), st.data())
def test_sums_and_products_fit_the_types_of_sum_and_product(a: Fixed, b: Fixed, data: st.DataObject) -> None:
    x, y = data.draw(st.integers(a.min_raw, a.max_raw)), data.draw(st.integers(b.min_raw, b.max_raw))
    total, product = a + b, a * b
    common = (x << (total.frac - a.frac)) + (y << (total.frac - b.frac))
    assert total.min_raw <= common <= total.max_raw
    assert product.frac == a.frac + b.frac
    assert product.min_raw <= x * y <= product.max_raw


@given(types(max_width=12), types(max_width=12))
def test_a_type_holds_another_when_no_number_of_it_changes_in_the_cast(a: Fixed, b: Fixed) -> None:
    every = np.arange(b.min_raw, b.max_raw + 1)
    if a.holds(b):
        plain = Fixed(a.width, a.integer, a.signed)
        assert (plain.value(plain.cast(every, b.frac)) == b.value(every)).all()
    else:
        edges = np.array([b.min_raw, b.min_raw + 1, b.max_raw])
        nearest = Fixed(a.width, a.integer, a.signed, overflow="SAT")
        assert (nearest.value(nearest.cast(edges, b.frac)) != b.value(edges)).any()
