# SPDX-License-Identifier: BSD-3-Clause
"""The translator of 2014 (model/recurrent.h, kind bahdanau) in PyTorch, as it is best written there: the encoder is one
nn.GRU, and whatever does not wait for the step before is done for all steps at once."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from batches import PADDING, Batch
from checkpoint import Checkpoint


class Bahdanau(nn.Module):
    def __init__(self, source_words: int, target_words: int, embed: int, states: int, hidden: int) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(source_words, embed)
        self.encoder = nn.GRU(embed, states // 2, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(states // 2, states)
        self.target_embedding = nn.Embedding(target_words, embed)
        self.decoder = nn.GRUCell(embed + states, states)
        self.query = nn.Linear(states, hidden)
        self.key = nn.Linear(states, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.readout = nn.Linear(2 * states + embed, 2 * states)
        self.output = nn.Linear(states, target_words)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The logits, [rows, target length, target words]."""
        packed = pack_padded_sequence(
            self.source_embedding(batch.source), batch.source_lengths, batch_first=True, enforce_sorted=False
        )
        outputs, last = self.encoder(packed)
        memory, _ = pad_packed_sequence(outputs, batch_first=True)
        keys = self.key(memory)
        padding = torch.zeros(batch.source.shape).masked_fill_(batch.source == PADDING, float("-inf"))
        embedded = self.target_embedding(batch.target_in)
        state = torch.tanh(self.bridge(last[1]))
        states, contexts = [], []
        for word in embedded.unbind(1):
            scores = self.score(torch.tanh(keys + self.query(state).unsqueeze(1))).squeeze(2)
            weights = torch.softmax(scores + padding, dim=1)
            context = torch.bmm(weights.unsqueeze(1), memory).squeeze(1)
            state = self.decoder(torch.cat((word, context), dim=1), state)
            states.append(state)
            contexts.append(context)
        joined = torch.cat((torch.stack(states, 1), embedded, torch.stack(contexts, 1)), dim=2)
        pairs = self.readout(joined)
        return self.output(torch.maximum(pairs[..., 0::2], pairs[..., 1::2]))


def from_checkpoint(c: Checkpoint) -> Bahdanau:
    model = Bahdanau(
        len(c.source_words), len(c.target_words), c.whole("embed"), c.whole("states"), c.whole("hidden")
    )
    p = c.parameters
    state = {
        "source_embedding.weight": p["encoder.embedding"],
        "bridge.weight": p["bridge.weight"],
        "bridge.bias": p["bridge.bias"],
        "target_embedding.weight": p["decoder.embedding"],
        "query.weight": p["attention.W"],
        "query.bias": p["attention.b"],
        "key.weight": p["attention.U"],
        "score.weight": p["attention.v"].unsqueeze(0),
        "readout.weight": p["readout.weight"],
        "readout.bias": p["readout.bias"],
        "output.weight": p["output.weight"],
        "output.bias": p["output.bias"],
    }
    for side, ending in (("input", "ih"), ("state", "hh")):
        for kind in ("weight", "bias"):
            state[f"encoder.{kind}_{ending}_l0"] = p[f"encoder.forward.{side}_{kind}"]
            state[f"encoder.{kind}_{ending}_l0_reverse"] = p[f"encoder.backward.{side}_{kind}"]
            state[f"decoder.{kind}_{ending}"] = p[f"decoder.{side}_{kind}"]
    model.load_state_dict(state)
    return model
