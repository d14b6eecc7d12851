import os

import numpy as np
import pytest
import torch

from models.discriminator import VisualQualityDiscriminator
from models.generator import Generator
from models.losses import (
    GAN_SYNC_WEIGHT,
    PERCEPTUAL_WEIGHT,
    SYNC_WEIGHT,
    cosine_bce,
    discriminator_losses,
    generator_loss,
    stack_lower_halves,
    sync_loss,
)
from models.sync_expert import SyncExpert

slow = pytest.mark.skipif(
    not os.environ.get("SINGALONG_SLOW_TESTS"), reason="takes minutes: set SINGALONG_SLOW_TESTS=1"
)


def unit_rows(num, size, seed):
    rows = np.abs(np.random.default_rng(seed).normal(size=(num, size)))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_cosine_bce_is_the_mean_log_loss_of_the_cosine():
    audio, face, labels = unit_rows(6, 8, 0), unit_rows(6, 8, 1), np.array([1, 0, 1, 1, 0, 0])
    cosine = (audio * face).sum(axis=1)
    expected = -np.mean(labels * np.log(cosine) + (1 - labels) * np.log(1 - cosine))
    got = cosine_bce(*(torch.from_numpy(array) for array in (audio, face, labels)))
    assert float(got) == pytest.approx(expected, rel=1e-9)


def test_cosine_bce_of_equal_and_of_orthogonal_pairs():
    same = torch.from_numpy(unit_rows(50, 512, 2)).float()
    assert float(cosine_bce(same, same, torch.ones(50))) == pytest.approx(0, abs=1e-5)
    assert np.isfinite(float(cosine_bce(same, same, torch.zeros(50))))
    assert float(cosine_bce(torch.eye(2)[:1], torch.eye(2)[1:], torch.ones(1))) == 100.0


def test_lower_halves_are_stacked_frame_by_frame():
    faces = torch.arange(2 * 3 * 5 * 96 * 96, dtype=torch.float32).view(2, 3, 5, 96, 96)
    stacked = stack_lower_halves(faces)
    assert stacked.shape == (2, 15, 48, 96)
    for frame in range(5):
        for channel in range(3):
            assert torch.equal(stacked[:, 3 * frame + channel], faces[:, channel, frame, 48:])


@pytest.fixture
def faces():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 5, 96, 96, generator=generator), torch.rand(2, 3, 5, 96, 96, generator=generator)


def test_without_weights_the_generator_learns_from_l1_alone(faces):
    loss = generator_loss(*faces)
    assert torch.equal(loss.total, loss.l1)
    assert loss.sync is None
    assert loss.perceptual is None
    assert float(loss.l1) == pytest.approx(float((faces[0] - faces[1]).abs().mean()))


def test_the_parts_are_mixed_by_their_weights(faces, randomize):
    expert = randomize(SyncExpert(width=0.0625))
    discriminator = randomize(VisualQualityDiscriminator(width=0.0625))
    mel = torch.rand(2, 1, 80, 16)
    loss = generator_loss(
        *faces,
        mel_B1MS=mel,
        expert=expert,
        sync_weight=0.03,
        discriminator=discriminator,
        perceptual_weight=0.07,
    )
    assert torch.equal(loss.sync, sync_loss(expert, mel, faces[0]))
    assert torch.equal(loss.perceptual, discriminator.perceptual_loss(faces[0]))
    torch.testing.assert_close(loss.total, 0.9 * loss.l1 + 0.03 * loss.sync + 0.07 * loss.perceptual)


def test_gradients_of_the_sync_loss_reach_the_lower_half_of_the_faces_only(faces, randomize):
    expert = randomize(SyncExpert(width=0.0625)).requires_grad_(False)
    generated = faces[0].requires_grad_()
    sync_loss(expert, torch.rand(2, 1, 80, 16), generated).backward()
    assert generated.grad[:, :, :, :48].abs().max() == 0
    assert generated.grad[:, :, :, 48:].abs().max() > 0


def test_the_discriminator_never_teaches_the_generator_in_its_own_step(faces, randomize):
    discriminator = randomize(VisualQualityDiscriminator(width=0.0625))
    generated = faces[0].requires_grad_()
    real, fake = discriminator_losses(discriminator, faces[1], generated)
    (real + fake).backward()
    assert generated.grad is None
    with torch.no_grad():
        torch.testing.assert_close(real, -discriminator(faces[1]).log().mean())
        torch.testing.assert_close(fake, -(1 - discriminator(faces[0])).log().mean())


@pytest.fixture(scope="module")
def training_batch(vectors, make_inputs):
    """(x (B, 6, 5, 96, 96), truth (B, 3, 5, 96, 96), one mel a frame, one mel a window), float64."""
    num = int(vectors("train")["batch"])
    truth, wrong = (
        torch.from_numpy(make_inputs.windows("train", num, 5, 0, kind)).permute(0, 4, 1, 2, 3).double() / 255
        for kind in ("gt", "wrong")
    )
    masked = truth.clone()
    masked[:, :, :, 48:] = 0
    mels = make_inputs.mels("train", (num, 5), 0), make_inputs.mels("trainw", (num,), 0)
    return torch.cat((masked, wrong), dim=1), truth, *(torch.from_numpy(mel).double() for mel in mels)


def load(network, reference_state, name):
    network.load_state_dict(reference_state(name))
    return network


def test_first_losses_match_the_reference_vectors(training_batch, vectors, reference_state):
    golden = vectors("train")
    x, truth, mel_per_frame, mel = (tensor.float() for tensor in training_batch)
    generator = load(Generator(), reference_state, "wav2lip_generator")
    expert = load(SyncExpert(), reference_state, "lipsync_expert").eval()
    discriminator = load(VisualQualityDiscriminator(), reference_state, "visual_quality_disc")
    with torch.no_grad():
        generated = generator.train()(mel_per_frame, x)
        on_truth = sync_loss(expert, mel, truth)
        loss = generator_loss(
            generated,
            truth,
            mel_B1MS=mel,
            expert=expert.train(),  # as the reference does
            sync_weight=GAN_SYNC_WEIGHT,
            discriminator=discriminator,
            perceptual_weight=PERCEPTUAL_WEIGHT,
        )
        real, fake = discriminator_losses(discriminator, truth, generated)
    assert float(on_truth) == pytest.approx(float(golden["f32_hq_sync_loss_on_gt_expert_eval"]), abs=2e-4)
    assert float(loss.l1) == pytest.approx(float(golden["f32_hq_l1"][0]), abs=2e-4)
    assert float(loss.sync) == pytest.approx(float(golden["f32_hq_sync"][0]), abs=2e-4)
    order = golden["f32_hq_bce_order_percep_real_fake"][:3]
    np.testing.assert_allclose([float(loss.perceptual), float(real), float(fake)], order, atol=2e-4)


def grad_norms(network):
    return np.array([float(parameter.grad.norm()) for parameter in network.parameters()])


def assert_norms(network, golden, tolerance):
    np.testing.assert_allclose(grad_norms(network), golden, atol=tolerance * golden.max())


@slow
def test_three_steps_of_the_generator_match_the_reference_in_double_precision(training_batch, vectors, reference_state):
    golden = vectors("train")
    x, truth, mel_per_frame, mel = training_batch
    generator = load(Generator(), reference_state, "wav2lip_generator").double().train()
    expert = load(SyncExpert(), reference_state, "lipsync_expert").double().train().requires_grad_(False)
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-4)
    for step, weight in enumerate((0.0, SYNC_WEIGHT, SYNC_WEIGHT)):
        optimizer.zero_grad()
        loss = generator_loss(generator(mel_per_frame, x), truth, mel_B1MS=mel, expert=expert, sync_weight=weight)
        loss.total.backward()
        assert loss.l1.item() == pytest.approx(float(golden["f64_l1_l1"][step]), rel=1e-6)
        if step:
            assert loss.sync.item() == pytest.approx(float(golden["f64_l1_sync"][step - 1]), rel=1e-6)
        assert_norms(generator, golden["f64_l1_grad_norms"][step], 1e-5)
        optimizer.step()


@slow
def test_three_steps_of_the_gan_match_the_reference_in_double_precision(training_batch, vectors, reference_state):
    golden = vectors("train")
    x, truth, mel_per_frame, mel = training_batch
    generator = load(Generator(), reference_state, "wav2lip_generator").double().train()
    expert = load(SyncExpert(), reference_state, "lipsync_expert").double().train().requires_grad_(False)
    discriminator = load(VisualQualityDiscriminator(), reference_state, "visual_quality_disc").double().train()
    optimizers = [torch.optim.Adam(n.parameters(), lr=1e-4, betas=(0.5, 0.999)) for n in (generator, discriminator)]
    for step in range(3):
        optimizers[0].zero_grad()
        optimizers[1].zero_grad()
        generated = generator(mel_per_frame, x)
        loss = generator_loss(
            generated,
            truth,
            mel_B1MS=mel,
            expert=expert,
            sync_weight=GAN_SYNC_WEIGHT,
            discriminator=discriminator,
            perceptual_weight=PERCEPTUAL_WEIGHT,
        )
        loss.total.backward()
        assert_norms(generator, golden["f64_hq_grad_norms"][step], 1e-5)
        optimizers[0].step()
        optimizers[1].zero_grad()
        real, fake = discriminator_losses(discriminator, truth, generated)
        (real + fake).backward()
        assert_norms(discriminator, golden["f64_hq_disc_grad_norms"][step], 1e-5)
        optimizers[1].step()
        assert loss.l1.item() == pytest.approx(float(golden["f64_hq_l1"][step]), rel=1e-6)
        assert loss.sync.item() == pytest.approx(float(golden["f64_hq_sync"][step]), rel=1e-6)
        order = golden["f64_hq_bce_order_percep_real_fake"].reshape(3, 3)[step]
        np.testing.assert_allclose([loss.perceptual.item(), real.item(), fake.item()], order, rtol=1e-6)


@slow
def test_three_steps_of_the_expert_match_the_reference_in_double_precision(training_batch, vectors, reference_state):
    golden = vectors("train")
    _, truth, _, mel = training_batch
    expert = load(SyncExpert(), reference_state, "lipsync_expert").double().train()
    optimizer = torch.optim.Adam(expert.parameters(), lr=1e-4)
    labels = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    for step in range(3):
        optimizer.zero_grad()
        loss = cosine_bce(*expert(mel, stack_lower_halves(truth)), labels)
        loss.backward()
        assert loss.item() == pytest.approx(float(golden["f64_expert_losses"][step]), rel=1e-6)
        assert_norms(expert, golden["f64_expert_grad_norms"][step], 1e-5)
        optimizer.step()
