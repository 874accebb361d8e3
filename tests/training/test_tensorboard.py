"""The event files, read by nothing that wrote them: records as TensorFlow frames them, messages as protobuf encodes them."""

import struct

import pytest

from tests.training.tile_sets import UNPAVED, make_base, make_tile_set
from training.run import run
from training.settings import TrainingSettings
from training.tensorboard import EventFile, numbers
from workspace.files import write_json
from workspace.jobs import events

CASTAGNOLI = 0x82F63B78


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (CASTAGNOLI if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    """(length, its checksum, data, its checksum), one after the other."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12])[0] == masked_crc(data[:8])
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == masked_crc(data[12 : 12 + length])
        yield data[12 : 12 + length]
        data = data[16 + length :]


def fields(message):
    """(number, value) of each field of a protobuf message."""

    def varint():
        nonlocal message
        value = shift = 0
        while True:
            byte, message = message[0], message[1:]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while message:
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        length = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, message[:length]
        message = message[length:]


def read(folder):
    """{tag: {step: number}}, and {tag: text}, of the only file in the folder."""
    (path,) = (folder / "tensorboard").glob("events.out.tfevents.*")
    first, *rest = (dict(fields(record)) for record in records(path))
    assert first[3] == b"brain.Event:2"
    curves, texts = {}, {}
    for event in rest:
        value = dict(fields(dict(fields(event[5]))[1]))
        tag = value[1].decode()
        if 2 in value:
            curves.setdefault(tag, {})[event.get(2, 0)] = struct.unpack("<f", value[2])[0]
        else:
            texts[tag] = dict(fields(value[8]))[8].decode()
    return curves, texts


def test_the_checksum_is_that_of_the_standard():
    """RFC 3720, B.4: 32 bytes of zeros have 0x8A9136AA."""
    crc = 0x8A9136AA
    assert masked_crc(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.fixture
def place(tmp_path):
    make_tile_set(tmp_path / "tiles", drawn=(UNPAVED,))
    make_base(tmp_path / "base")
    return tmp_path


def a_run(place, **changes):
    chosen = {"tiles": str(place / "tiles"), "base": str(place / "base"), "epochs": 2, "batch_size": 3, "name": "Roads"}
    write_json(place / "run" / "settings.json", TrainingSettings.model_validate(chosen | changes).model_dump())
    return place / "run"


def test_a_run_leaves_curves_and_settings_that_tensorboard_reads(place, monkeypatch):
    folder = a_run(place)
    from workspace.jobs import JobReporter

    said = JobReporter.event

    def power_cut(self, **facts):
        if facts["epoch"] == 2:
            raise SystemExit("power cut")
        said(self, **facts)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(JobReporter, "event", power_cut)
        run(folder)
    assert run(folder) == 0
    curves, texts = read(folder)
    told = events(folder)
    for tag, name in (("Loss/learning", "loss"), ("Loss/held-out_tiles", "validation_loss"), ("Learning_rate", "learning_rate")):
        assert curves[tag] == {e["epoch"]: pytest.approx(e[name]) for e in told}
    assert curves["IoU/Unpaved_road"] == {e["epoch"]: pytest.approx(e["iou"]["Unpaved road"]) for e in told}
    assert set(curves) >= {"F1/Unpaved_road", "IoU/mean_of_the_classes", "Seconds"}
    assert "| Epochs | 2 |" in texts["Settings/text_summary"]
    assert "| Name of the new model | Roads |" in texts["Settings/text_summary"]


def test_a_quick_run_tells_its_scores(place):
    folder = a_run(place, freeze="all_but_last_layer")
    assert run(folder) == 0
    assert read(folder)[0]["IoU/Unpaved_road"].keys() == {0}


def test_every_task_has_its_scores():
    objects = {"measure": "AP50", "by_class": {"Roof": 0.5, "Pool": None}, "score": 0.5, "average_precision": 0.25, "f1": 0.4}
    assert dict(numbers(objects)) == {
        "AP50/Roof": 0.5,
        "AP50/mean of the classes": 0.5,
        "AP50-95/mean of the classes": 0.25,
        "F1/mean of the classes": 0.4,
    }
    assert dict(numbers({"measure": "F1", "by_class": {"Water": 1.0}, "score": 1.0, "accuracy": 0.9})) == {
        "F1/Water": 1.0,
        "F1/mean of the classes": 1.0,
        "Accuracy": 0.9,
    }


def test_what_is_told_is_on_disk_at_once(tmp_path):
    written = EventFile(tmp_path, TrainingSettings(tiles="x"))
    written.add({"epoch": 1, "loss": 0.5, "measure": "F1", "by_class": {}, "score": None})
    assert read(tmp_path)[0] == {"Loss/learning": {1: 0.5}}
