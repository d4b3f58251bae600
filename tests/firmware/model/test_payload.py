import hashlib
import zlib

import numpy as np
import pytest

from firmware.errors import PayloadError
from firmware.model.model import Model
from firmware.model.payload import Change, Payload


def test_fields_follow_one_another_in_the_order_of_the_datapath(model: Model) -> None:
    names = [field.name for field in model.layout.fields]
    assert names == [
        "input_scale",
        "input_offset",
        "ring_scale",
        "latent_scale",
        "latent_offset",
        "output_scale",
        "output_offset",
        "cuts",
        "lut",
    ]
    assert [field.address for field in model.layout.fields] == [0, 57, 114, 210, 218, 226, 227, 228, 233]
    assert model.layout.n_words == 233 + 4096


def test_the_nominal_payload_has_unit_scales_no_offsets_and_an_identity_lut(nominal: Payload) -> None:
    assert (nominal.value("input_scale") == 1).all()
    assert (nominal.value("ring_scale") == 1).all()
    assert (nominal.value("latent_scale") == 1).all()
    assert nominal.value("output_scale").tolist() == [1]
    for name in ("input_offset", "latent_offset", "output_offset"):
        assert not nominal.raw(name).any()
    assert nominal.raw("lut").tolist() == list(range(4096))
    assert nominal.raw("cuts").tolist() == [346, 389, 415, 456, 557]


def test_id_and_crc_are_those_of_the_canonical_bytes(nominal: Payload) -> None:
    data = b"".join(int(word).to_bytes(4, "little") for word in nominal.words)
    assert nominal.to_bytes() == data
    assert nominal.id == hashlib.sha256(nominal.model_id.encode() + data).hexdigest()
    assert nominal.crc == zlib.crc32(data)


def test_a_payload_survives_the_way_through_bytes(nominal: Payload) -> None:
    again = Payload.from_bytes(nominal.layout, nominal.model_id, nominal.to_bytes())
    assert again.id == nominal.id
    assert not again.words.flags.writeable


def test_bytes_of_another_length_are_refused(nominal: Payload) -> None:
    with pytest.raises(PayloadError, match=f"{4 * 4329 - 1} bytes, expected {4 * 4329}"):
        Payload.from_bytes(nominal.layout, nominal.model_id, nominal.to_bytes()[:-1])


def test_replacing_registers_leaves_the_old_payload_and_the_other_registers(nominal: Payload) -> None:
    new = nominal.replace(output_offset=-3, cuts=[1, 2, 3, 4, 5])
    assert new.diff(nominal)[0] == Change("output_offset", 0, -3, 0, -3 / 16, 0.0)
    assert [(c.field, c.index, c.old_raw, c.new_raw) for c in nominal.diff(new)] == [
        ("output_offset", 0, 0, -3),
        *(("cuts", i, cut, i + 1) for i, cut in enumerate([346, 389, 415, 456, 557])),
    ]
    assert nominal.raw("output_offset").tolist() == [0]
    assert new.id != nominal.id


def test_values_are_rounded_to_the_nearest_number_of_the_type(nominal: Payload) -> None:
    new = nominal.replace_values(output_scale=1 + 0.6 * 2**-16, latent_offset=np.full(8, -0.3))
    assert new.raw("output_scale").tolist() == [2**16 + 1]
    assert new.value("latent_offset").tolist() == [-0.25] * 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"input_scale": [1 << 14] * 56 + [1 << 16]},
            r"input_scale\[56\]: raw 65536 \(value 4\) is outside 0 to",
        ),
        ({"output_offset": -(2**19) - 1}, r"output_offset\[0\].*-32768 to 32767.9\) of ap_fixed<20,16>"),
        ({"cuts": [0, 0, -1, 0, 0]}, r"cuts\[2\]: raw -1"),
        ({"cuts": [0, 0]}, r"cuts: raws of shape \(2,\), expected \(5,\)"),
        ({"latent_scale": 1}, r"latent_scale: raws of shape \(1,\), expected \(8,\)"),
        ({"cuts": [0.5] * 5}, "cuts: raws must be integers"),
        ({"cuts": [np.nan] * 5}, r"cuts\[0\]: raw nan"),
        ({"scale": 1}, "no field 'scale': there are input_scale, "),
    ],
)
def test_raws_that_do_not_fit_are_refused_by_name(nominal: Payload, change: dict[str, object], message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        nominal.replace(**change)  # type: ignore[arg-type]


def test_values_out_of_range_are_refused_not_saturated(nominal: Payload) -> None:
    with pytest.raises(PayloadError, match=r"output_scale\[0\].*value 4"):
        nominal.replace_values(output_scale=4.0)


def test_a_word_with_bits_above_its_type_is_refused(nominal: Payload) -> None:
    words = nominal.words.copy()
    words[228] = 1 << 18
    with pytest.raises(PayloadError, match=r"cuts\[0\]: word 0x00040000 is no number of ap_uint<18>"):
        Payload(nominal.model_id, nominal.layout, words)


def test_words_cannot_be_changed_in_place(nominal: Payload) -> None:
    with pytest.raises(ValueError, match="read-only"):
        nominal.words[0] = 1


def test_payloads_of_different_layouts_cannot_be_compared(nominal: Payload) -> None:
    shorter = type(nominal.layout)(nominal.layout.fields[:1])
    with pytest.raises(PayloadError, match="different layouts"):
        nominal.diff(Payload("other", shorter, nominal.words[:57]))
