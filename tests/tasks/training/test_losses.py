import torch

from tasks.training.losses import (
    balanced_bce,
    change_weighted_l1,
    confusable,
    contrastive,
    edge_difference,
    flow_difference,
    total_variation,
)

NONE = torch.zeros(3, 3, dtype=torch.bool)
EYE = torch.eye(3, dtype=torch.bool)


def test_contrastive_loss_is_small_only_for_the_right_pairs():
    right = contrastive(torch.eye(3), EYE, NONE, 20.0)
    wrong = contrastive(torch.eye(3).flip(0), EYE, NONE, 20.0)
    assert float(right) < 0.01 < 5 < float(wrong)


def test_excluded_pairs_are_neither_right_nor_wrong():
    cosine = torch.eye(3)
    cosine[0, 1] = cosine[1, 0] = 1.0
    excluded = NONE.clone()
    excluded[0, 1] = excluded[1, 0] = True
    assert float(contrastive(cosine, EYE, excluded, 20.0)) < 0.01
    assert float(balanced_bce(cosine, EYE, excluded)) < 0.01


def test_mouths_that_look_alike_are_confusable_and_others_are_not():
    still = torch.zeros(1, 5, 9)
    opens = still.clone()
    opens[0, :, 0] = torch.linspace(0, 0.8, 5)
    nearly = still + 0.01
    assert confusable(still, torch.cat((nearly, opens))).tolist() == [[True, False]]


def test_change_counts_more_than_what_stays():
    reference = torch.zeros(1, 3, 16, 16)
    target = reference.clone()
    target[..., 8:] = 0.5
    missed_change = change_weighted_l1(reference, target, reference)
    spoiled_rest = change_weighted_l1(target + 0.5 * (target == 0), target, reference)
    assert float(missed_change) > 2 * float(spoiled_rest)


def test_a_flow_counts_where_it_is_known():
    flow, known = torch.zeros(1, 2, 96, 96), torch.ones(1, 1, 96, 96)
    flow[:, 0, :50] = 0.3
    assert float(flow_difference(flow, flow.clone(), known)) < 2e-3
    assert float(flow_difference(flow, torch.zeros_like(flow), known)) > 0.1
    known[:, :, :50] = 0
    assert float(flow_difference(flow, torch.zeros_like(flow), known)) < 2e-3


def test_smooth_fields_have_no_variation_and_masked_edges_do_not_count():
    assert float(total_variation(torch.ones(1, 2, 8, 8))) == 0
    picture = torch.rand(1, 3, 8, 8)
    assert float(edge_difference(picture, 1 - picture, torch.zeros(1, 1, 8, 8))) == 0
