# SPDX-License-Identifier: BSD-3-Clause
"""decoder_step.py: Bahdanau's attention in a decoder (Bahdanau 2014): the encoder's states are projected once, into a
memory, and each step of the decoder attends to it with its state before the step."""

import attn
import numpy as np

batch, length, encoder_dim, decoder_dim, hidden = 4, 30, 32, 24, 48
random = np.random.default_rng(1)
normal = lambda *shape: random.standard_normal(shape, dtype=np.float32)

params = {"W": normal(hidden, decoder_dim) / 5, "U": normal(hidden, encoder_dim) / 5, "v": normal(hidden)}
mechanism = attn.Mechanism("additive", params=params)
print("trainable numbers:", mechanism.param_total)

states = normal(batch, 1, length, encoder_dim)
memory = attn.Memory(mechanism, batch=batch, key_dim=encoder_dim)  # the keys are the values
memory.append(states, counts=[30, 22, 17, 9])                      # sentences of different lengths

state, context = normal(batch, 1, 1, decoder_dim), np.empty((batch, 1, 1, encoder_dim), "f4")
recurrent = normal(decoder_dim, decoder_dim + encoder_dim) / 8
step = mechanism.call(state, memory=memory, context=context)  # laid out once, run for each word
for _ in range(5):
    step.run()
    state[...] = np.tanh(np.concatenate([state, context], -1) @ recurrent.T)
print("the state after five words:", state.shape, "of length", np.round(np.linalg.norm(state), 3))

whole = mechanism(state, states, key_lengths=[30, 22, 17, 9])  # the same without a memory, projected once more
step.run()
print("as without a memory:", np.allclose(context, whole, atol=1e-5))
