"""Router noise is a function of seed and step, however the step is cut."""

import torch

from camoe.training.router_noise import RouterNoise


def test_the_same_step_draws_the_same_noise_and_others_do_not() -> None:
    noise = RouterNoise(3, 2, 4)
    first = noise.of_step(7, 8, 16)
    assert torch.equal(first, RouterNoise(3, 2, 4).of_step(7, 8, 16))
    assert not torch.equal(first, noise.of_step(8, 8, 16))
    assert not torch.equal(first, RouterNoise(4, 2, 4).of_step(7, 8, 16))
    assert abs(float(first.std()) - 1) < 0.1
