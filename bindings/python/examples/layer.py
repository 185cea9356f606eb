# SPDX-License-Identifier: BSD-3-Clause
"""layer.py: a layer of heads learns to copy the last word but one, by gradient descent in NumPy alone."""

import attn
import numpy as np

dim, heads, length, words = 32, 4, 12, 10
random = np.random.default_rng(2)
layer = attn.MultiHead(dim, heads, mechanism=attn.Mechanism(causal="top_left"), packed=True)
params = {name: random.standard_normal(shape) * shape[-1]**-0.5 for name, shape in layer.param_shapes().items()}
layer.bind(**params)  # borrowed: what is changed in place is changed for the layer

meanings, places = random.standard_normal((words, dim)), attn.sinusoidal(length, dim, dtype="f8")
pace, speed = 0.004, {name: np.zeros_like(param) for name, param in params.items()}
for step in range(501):
    sentence = random.integers(words, size=(16, length))
    x = meanings[sentence] + places
    wanted = meanings[sentence[:, :-2]]
    result = layer.forward(x, save=True)
    wrong = result.output[:, 2:] - wanted
    if step % 100 == 0:
        print(f"step {step}: mean square error {np.mean(wrong**2):.3f}")
    d_output = np.zeros_like(result.output)
    d_output[:, 2:] = 2 * wrong / 16
    gradients = layer.backward(d_output, x, result=result, wanted=params)
    for name, param in params.items():
        speed[name] = 0.9 * speed[name] + gradients.params[name] / length
        param -= pace * speed[name]
