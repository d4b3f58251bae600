import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware.board.addresses import address_table
from firmware.datapath.emulator import Emulator
from firmware.errors import PackageError
from firmware.model.model import Model
from firmware.model.package import Package
from firmware.model.payload import Payload


@pytest.fixture(scope="module")
def package(model: Model, nominal: Payload, random_events: Callable[[Model, int, int], np.ndarray]) -> Package:
    events = random_events(model, 20, 8).astype(np.int16)
    return Package(
        model=model,
        nominal=nominal,
        address_table=address_table([("axol1tl", model.layout, model.n_cuts)]),
        reference=bytes(range(256)),
        golden_events=events,
        golden_codes=Emulator(model).codes(events, nominal),
        lineage={"trained": {"seed": 4, "on": "generated events"}},
        signals={"resonance": events[:7], "multilepton": events[7:]},
    )


@pytest.fixture
def saved(package: Package, tmp_path: Path) -> Path:
    path = tmp_path / "model.driftd"
    package.save(path)
    return path


def test_a_package_is_loaded_as_it_was_saved(package: Package, saved: Path) -> None:
    loaded = Package.load(saved)
    assert loaded.id == package.id
    assert loaded.model.id == package.model.id
    assert loaded.nominal.id == package.nominal.id
    assert (loaded.address_table, loaded.reference, loaded.lineage) == (
        package.address_table,
        package.reference,
        package.lineage,
    )
    assert set(loaded.signals) == set(package.signals)
    for name, events in package.signals.items():
        np.testing.assert_array_equal(loaded.signals[name], events)
    codes = Emulator(loaded.model).codes(loaded.golden_events, loaded.nominal)
    assert (codes == loaded.golden_codes).all()


def test_the_same_content_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.driftd"
    Package.load(saved).save(again)
    assert again.read_bytes() == saved.read_bytes()
    with zipfile.ZipFile(saved) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == sorted(archive.namelist())


def test_every_member_is_in_the_id(package: Package) -> None:
    others = [
        replace(package, reference=b"other"),
        replace(package, lineage={}),
        replace(package, nominal=package.nominal.replace(cuts=[1, 2, 3, 4, 5])),
        replace(package, golden_codes=package.golden_codes + 1),
        replace(package, signals={}),
    ]
    assert len({package.id, *(other.id for other in others)}) == 6


def test_a_changed_byte_is_found_in_every_member_and_named(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        members = archive.infolist()
    assert len(members) == 18
    for member in members:
        start = member.header_offset + 30 + len(member.filename)
        for at in (start, start + member.file_size // 2, start + member.file_size - 1):
            changed = data.copy()
            changed[at] ^= 0x10
            saved.write_bytes(changed)
            with pytest.raises(PackageError, match=f"member {member.filename} is changed"):
                Package.load(saved)


def test_a_changed_byte_anywhere_is_found_or_harmless(package: Package, saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    for at in np.random.default_rng(0).integers(0, len(data), 400):
        changed = data.copy()
        changed[at] ^= 0xFF
        saved.write_bytes(changed)
        try:
            assert Package.load(saved).id == package.id
        except PackageError:
            continue


def rewrite(path: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    """Change members and zip them again, as if someone had edited the package."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update({"nominal.bin": m["nominal.bin"][::-1]}), "member nominal.bin is changed"),
        (lambda m: m.pop("reference.bin"), "member reference.bin is missing"),
        (lambda m: m.update(extra=b""), "member extra is changed"),
        (lambda m: m.pop("manifest.json"), "no readable manifest.json"),
        (lambda m: m.update({"manifest.json": b"[]"}), "no readable manifest.json"),
        (
            lambda m: m.update({"manifest.json": m["manifest.json"].replace(b'"format": 1', b'"format": 2')}),
            "is of format 2, expected 1",
        ),
    ],
)
def test_an_edited_package_is_refused_by_member(
    saved: Path, change: Callable[[dict[str, bytes]], object], message: str
) -> None:
    rewrite(saved, change)
    with pytest.raises(PackageError, match=message):
        Package.load(saved)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(saved: Path, part: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(part * len(data))])
    with pytest.raises(PackageError, match="is no readable package"):
        Package.load(saved)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="is no readable package"):
        Package.load(tmp_path / "absent")


def test_a_payload_of_another_model_is_refused(package: Package) -> None:
    other = Payload.nominal(replace(package.model, name="other"), package.nominal.raw("cuts"))
    with pytest.raises(PackageError, match="the nominal payload is made for model"):
        replace(package, nominal=other)


def test_a_package_without_signals_is_loaded_as_it_was_saved(package: Package, tmp_path: Path) -> None:
    path = tmp_path / "imported.driftd"
    without = replace(package, signals={})
    without.save(path)
    loaded = Package.load(path)
    assert loaded.signals == {}
    assert loaded.id == without.id


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        ({"narrow": np.zeros((3, 5), np.int16)}, "signal narrow: events of shape"),
        ({"empty": np.zeros((0, 57), np.int16)}, "signal empty: it has no events"),
        ({"beyond": np.full((1, 57), 30_000, np.int16)}, "signal beyond: event 0"),
        ({"../up": np.zeros((3, 57), np.int16)}, "expected a name of letters"),
    ],
)
def test_signals_that_do_not_fit_are_refused(package: Package, signals: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(PackageError, match=message):
        replace(package, signals=signals)


def test_golden_vectors_that_do_not_fit_are_refused(package: Package) -> None:
    with pytest.raises(PackageError, match=r"\(19,\) golden codes for 20 events"):
        replace(package, golden_codes=package.golden_codes[1:])
    with pytest.raises(PackageError, match="golden events: events of shape"):
        replace(package, golden_events=package.golden_events[:, 1:])
