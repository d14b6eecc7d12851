import math

import numpy as np
import pytest
import torch

from models.scorers import (
    EXPERT_PX,
    PADDING_GRAY,
    ExpertScorer,
    SlidingEmbedder,
    SyncNetScorer,
    load_scorer,
    syncnet_region,
)
from models.sync_expert import SyncExpert
from models.syncnet import SyncNet
from singalong.contracts import ModelRef
from singalong.errors import WeightsError


class _CountingNet(torch.nn.Module):
    """Stands for both networks: embeds a window by the mean of each frame, so that order shows."""

    num_embedding = 5

    def embed_face(self, faces: torch.Tensor) -> torch.Tensor:
        return faces.reshape(len(faces), 5, -1).mean(2)

    def embed_audio(self, windows: torch.Tensor) -> torch.Tensor:
        return windows.reshape(len(windows), -1)[:, :5]


@pytest.fixture
def counting() -> ExpertScorer:
    return ExpertScorer(_CountingNet(), name="counting", device="cpu")


@pytest.fixture(scope="module")
def expert() -> ExpertScorer:
    torch.manual_seed(0)
    return ExpertScorer(SyncExpert(width=0.125), name="small", device="cpu")


@pytest.fixture(scope="module")
def syncnet() -> SyncNetScorer:
    torch.manual_seed(0)
    return SyncNetScorer(SyncNet(num_embedding=16), name="random", device="cpu")


def _image(height: int = 120, width: int = 160) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _reader(image: np.ndarray):
    def read(box):
        x1, y1, x2, y2 = box
        assert 0 <= x1 < x2 <= image.shape[1]
        assert 0 <= y1 < y2 <= image.shape[0]
        return image[y1:y2, x1:x2]

    return read


def _crop(scorer, image: np.ndarray, box):
    return scorer.crop(_reader(image), box, width=image.shape[1], height=image.shape[0])


def test_expert_crop_is_the_lower_half_of_the_box(expert: ExpertScorer) -> None:
    image = _image()
    crop = _crop(expert, image, (10, 5, 10 + EXPERT_PX, 5 + EXPERT_PX))
    np.testing.assert_array_equal(crop, image[5 + 48 : 5 + 96, 10:106])


def test_expert_crop_ends_at_the_edge_of_the_frame(expert: ExpertScorer) -> None:
    image = _image(height=96, width=200)
    np.testing.assert_array_equal(_crop(expert, image, (-20, -9, 96, 300)), image[48:, :96])


@pytest.mark.parametrize("height", [1, 2, 3, 7, 48, 95, 96, 97, 150, 191, 192, 193, 287, 288, 333])
def test_expert_crop_needs_no_more_than_the_lower_half_and_a_row_read(expert: ExpertScorer, height: int) -> None:
    image = _image(height=340, width=250)
    box, rows_read = (11, 3, 211, 3 + height), []

    def read(part):
        rows_read.append(part[3] - part[1])
        return image[part[1] : part[3], part[0] : part[2]]

    crop = expert.crop(read, box, width=250, height=340)
    np.testing.assert_array_equal(crop, expert.crop_whole(image[3 : 3 + height, 11:211]))
    assert rows_read[0] <= height / 2 + 2


@pytest.mark.parametrize("box", [(400, 10, 500, 90), (-90, 10, -2, 90), (10, 130, 90, 220)])
def test_no_crop_of_a_box_beyond_the_frame(expert: ExpertScorer, box) -> None:
    assert _crop(expert, _image(), box) is None


def test_no_syncnet_crop_of_a_box_far_beyond_the_frame(syncnet: SyncNetScorer) -> None:
    assert _crop(syncnet, _image(), (900, 10, 1000, 90)) is None


def test_syncnet_region_has_the_margins_of_run_pipeline() -> None:
    assert syncnet_region(300.0, 200.0, 50.0) == (230, 150, 370, 290)


def test_syncnet_region_truncates_in_padded_coordinates() -> None:
    """Left of the frame a padded coordinate is still positive: truncation goes down, not towards zero."""
    assert syncnet_region(1.0, 1.0, 10.25) == (math.floor(1 - 14.35), math.floor(-9.25), 15, 19)


def test_syncnet_crop_is_gray_beyond_the_frame(syncnet: SyncNetScorer) -> None:
    crop = _crop(syncnet, np.zeros((200, 200, 3), np.uint8), (0, 20, 160, 180))
    assert crop.shape == (224, 224, 3)
    assert (crop[:, :20] == PADDING_GRAY).all()
    assert (crop[100:110, 60:150] == 0).all()


def test_whole_frame_crop_needs_no_box(syncnet: SyncNetScorer, expert: ExpertScorer) -> None:
    image = _image(224, 224)
    np.testing.assert_array_equal(syncnet.crop_whole(image), image)
    image = _image(96, 96)
    np.testing.assert_array_equal(expert.crop_whole(image), image[48:])


def test_windows_keep_frame_order_and_scale(counting: ExpertScorer) -> None:
    crops = np.stack([np.full(counting.crop_shape, 51 * (k % 5), np.uint8) for k in range(7)])
    embeddings = counting.embed_faces(crops)
    np.testing.assert_allclose(
        embeddings, [[0, 0.2, 0.4, 0.6, 0.8], [0.2, 0.4, 0.6, 0.8, 0], [0.4, 0.6, 0.8, 0, 0.2]], atol=1e-6
    )


def test_expert_channels_are_frame_by_frame_bgr(expert: ExpertScorer) -> None:
    seen = []

    class Spy(_CountingNet):
        def embed_face(self, faces: torch.Tensor) -> torch.Tensor:
            seen.append(faces)
            return super().embed_face(faces)

    crops = np.random.default_rng(1).integers(0, 256, (5, 48, 96, 3), dtype=np.uint8)
    ExpertScorer(Spy(), name="spy", device="cpu").embed_faces(crops)
    for t in range(5):
        for c in range(3):
            np.testing.assert_allclose(seen[0][0, 3 * t + c].numpy(), crops[t, :, :, c] / 255.0, atol=1e-6)


def test_too_few_crops_give_no_window(counting: ExpertScorer) -> None:
    assert counting.embed_faces(np.zeros((4, *counting.crop_shape), np.uint8)).shape == (0, 5)
    assert counting.embed_audio(np.zeros((0, 80, 16), np.float32)).shape == (0, 5)


def test_embeddings_do_not_depend_on_the_batch(expert: ExpertScorer) -> None:
    crops = np.random.default_rng(2).integers(0, 256, (40, 48, 96, 3), dtype=np.uint8)
    windows = np.random.default_rng(2).normal(size=(36, 80, 16)).astype(np.float32)
    assert expert.batch_size < 36
    single = np.concatenate([expert.embed_faces(crops[k : k + 5]) for k in range(36)])
    np.testing.assert_allclose(expert.embed_faces(crops), single, atol=1e-6)
    np.testing.assert_allclose(
        expert.embed_audio(windows), np.concatenate([expert.embed_audio(w[None]) for w in windows]), atol=1e-6
    )


def test_expert_embeddings_have_length_one_and_syncnets_are_left_alone(
    expert: ExpertScorer, syncnet: SyncNetScorer
) -> None:
    rng = np.random.default_rng(3)
    face = expert.embed_faces(rng.integers(0, 256, (5, 48, 96, 3), dtype=np.uint8))
    np.testing.assert_allclose(np.linalg.norm(face, axis=1), 1, atol=1e-5)
    audio = syncnet.embed_audio(rng.normal(size=(2, 13, 20)).astype(np.float32))
    assert audio.shape == (2, syncnet.embedding_size) == (2, 16)
    assert not np.allclose(np.linalg.norm(audio, axis=1), 1, atol=1e-2)


def test_scoring_leaves_no_gradient_and_no_changed_statistics(expert: ExpertScorer) -> None:
    before = {key: value.clone() for key, value in expert._network.state_dict().items()}
    expert.embed_faces(np.zeros((6, 48, 96, 3), np.uint8))
    assert all(torch.equal(value, before[key]) for key, value in expert._network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in expert._network.parameters())


def _crops(scorer: ExpertScorer, num: int) -> np.ndarray:
    return np.stack([np.full(scorer.crop_shape, k, np.uint8) for k in range(num)])


def _stream(embedder: SlidingEmbedder, crops: dict[int, np.ndarray | None]) -> dict[int, np.ndarray]:
    found: dict[int, np.ndarray] = {}
    for step, crop in crops.items():
        if embedder.push(step, crop):
            found.update(zip(*embedder.take(), strict=True))
    found.update(zip(*embedder.take(), strict=True))
    return found


def test_sliding_embedder_equals_embedding_all_at_once(counting: ExpertScorer) -> None:
    crops = _crops(counting, 90)
    found = _stream(SlidingEmbedder(counting), dict(enumerate(crops)))
    assert list(found) == list(range(86))
    np.testing.assert_allclose(np.stack(list(found.values())), counting.embed_faces(crops), atol=1e-6)


def test_sliding_embedder_makes_no_window_across_a_gap_or_cut(counting: ExpertScorer) -> None:
    crops: dict[int, np.ndarray | None] = dict(enumerate(_crops(counting, 25)))
    crops[7] = None  # a frame without a face
    del crops[14]  # a step that never came
    embedder = SlidingEmbedder(counting)
    found = dict.fromkeys(_stream(embedder, {k: v for k, v in crops.items() if k < 20}))
    embedder.cut()
    found.update(_stream(embedder, {k: v for k, v in crops.items() if k >= 20}))
    assert list(found) == [0, 1, 2, 8, 9, 15, 20]


def test_sliding_embedder_embeds_only_wanted_windows(counting: ExpertScorer) -> None:
    embedder = SlidingEmbedder(counting, wanted=lambda step: step % 4 == 0)
    assert list(_stream(embedder, dict(enumerate(_crops(counting, 20))))) == [0, 4, 8, 12]


def test_sliding_embedder_holds_a_bounded_number_of_crops(counting: ExpertScorer) -> None:
    embedder = SlidingEmbedder(counting)
    held = 0
    for step in range(500):
        if embedder.push(step, np.zeros(counting.crop_shape, np.uint8)):
            embedder.take()
        held = max(held, len({id(crop) for window in embedder._windows for crop in window}))
    assert held <= counting.batch_size + 4


@pytest.mark.parametrize(
    ("architecture", "network", "kind"),
    [("lipsync_expert", SyncExpert(width=0.125), ExpertScorer), ("syncnet_v2", SyncNet(), SyncNetScorer)],
)
def test_load_scorer_reads_a_checkpoint_of_either_network(tmp_path, architecture, network, kind) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": network.state_dict()}, path)
    ref = ModelRef(name="mine", architecture=architecture, path=str(path), weights_sha256="0" * 64)
    scorer = load_scorer(ref, device="cpu")
    assert type(scorer) is kind
    assert (scorer.name, scorer.device_name) == ("mine", "cpu")
    windows = np.random.default_rng(0).normal(size=(1, 80, 16)).astype(np.float32)
    if kind is ExpertScorer:
        expected = ExpertScorer(network, name="same", device="cpu").embed_audio(windows)
        np.testing.assert_allclose(scorer.embed_audio(windows), expected, atol=1e-6)  # batch norms are folded


def test_load_scorer_without_a_file_always_makes_the_same_weights() -> None:
    ref = ModelRef(name="seeded", architecture="lipsync_expert", weights_sha256="0" * 64, trained=False)
    windows = np.zeros((1, 80, 16), np.float32)
    first = load_scorer(ref, device="cpu").embed_audio(windows)
    torch.manual_seed(99)
    np.testing.assert_array_equal(load_scorer(ref, device="cpu").embed_audio(windows), first)


def test_load_scorer_refuses_a_network_that_scores_nothing() -> None:
    ref = ModelRef(name="det", architecture="s3fd", path="/x/s3fd.pth", weights_sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"det is no sync scorer.*'s3fd'.*syncnet_v2"):
        load_scorer(ref)


def test_golden_expert_embeddings(vectors, make_inputs, reference_state) -> None:
    golden = vectors("expert")
    network = SyncExpert()
    network.load_state_dict(reference_state("lipsync_expert"))
    scorer = ExpertScorer(network, name="golden", device="cpu")
    windows = make_inputs.windows("exp", 4, 5, 0, "gt")
    crops = [np.stack([scorer.crop_whole(frame) for frame in window]) for window in windows]
    np.testing.assert_allclose(scorer.embed_windows(crops), golden["face_emb"], atol=2e-6)
    np.testing.assert_allclose(scorer.embed_audio(golden["mel"][:, 0]), golden["audio_emb"], atol=2e-6)


def test_golden_syncnet_embeddings(vectors, make_inputs, reference_state) -> None:
    golden = vectors("syncnet")
    network = SyncNet()
    network.load_state_dict(reference_state("syncnet_v2"))
    scorer = SyncNetScorer(network, name="golden", device="cpu")
    windows = make_inputs.lip_windows("sync", 2, 0).transpose(0, 2, 3, 4, 1)
    np.testing.assert_allclose(scorer.embed_windows(windows), golden["lip"], atol=1e-5)
    mfcc = golden["mfcc_windows"][:, 0].astype(np.float32)
    np.testing.assert_allclose(scorer.embed_audio(mfcc), golden["aud"], atol=1e-5)


def test_golden_syncnet_crops(vectors, make_inputs, syncnet: SyncNetScorer) -> None:
    golden = vectors("pipeline")
    height, width = (int(side) for side in golden["crop_in_hw"])
    frames = make_inputs.clip("crop", int(golden["crop_n"]), height, width, 0)
    shas = []
    for frame, x, y, s in zip(
        golden["crop_frame_idx"], golden["crop_x"], golden["crop_y"], golden["crop_s"], strict=True
    ):
        crop = syncnet.crop_around(_reader(frames[frame]), float(x), float(y), float(s), width=width, height=height)
        shas.append(make_inputs.sha256(crop))
    assert shas == golden["crop_sha"].tolist()
