# SPDX-License-Identifier: BSD-3-Clause
"""torch_tokens.py: decoding with PyTorch: a cache that is there before, each new position copied into it, then
scaled_dot_product_attention over what it holds. The heads of a group go to it as they are (enable_gqa), or as rows of
one head, which is the same for a single query and reads the cache once; from Python, or from TorchScript."""

import torch
import torch.nn.functional as F

from measure import Entrant


def by_groups(query, key, value, keys, values, first):
    contexts = []
    for t in range(len(query)):
        at = torch.tensor([first + t])
        keys.index_copy_(2, at, key[t])
        values.index_copy_(2, at, value[t])
        end = first + t + 1
        contexts.append(F.scaled_dot_product_attention(query[t], keys[:, :, :end], values[:, :, :end], enable_gqa=True))
    return contexts


def by_rows(query, key, value, keys, values, first: int):
    contexts = []
    for t in range(len(query)):
        end = first + t + 1
        keys[:, :, end - 1:end].copy_(key[t])
        values[:, :, end - 1:end].copy_(value[t])
        rows = query[t].reshape(key[t].size(0), key[t].size(1), -1, key[t].size(3))
        contexts.append(F.scaled_dot_product_attention(rows, keys[:, :, :end], values[:, :, :end]))
    return contexts


def script(query: list[torch.Tensor], key: list[torch.Tensor], value: list[torch.Tensor], keys, values, first: int):
    contexts: list[torch.Tensor] = []
    for t in range(len(query)):
        end = first + t + 1
        keys.narrow(2, end - 1, 1).copy_(key[t])
        values.narrow(2, end - 1, 1).copy_(value[t])
        contexts.append(F.scaled_dot_product_attention(query[t], keys.narrow(2, 0, end), values.narrow(2, 0, end)))
    return contexts


def entrant(name, function, data, backend, rows=False):
    case = data.case
    query, key, value = (list(torch.from_numpy(array)) for array in data.sets[0])
    if rows:
        query = [one.reshape(case.batch, case.Hk, -1, case.dim) for one in query]
    keys, values = (torch.empty(case.batch, case.Hk, case.keys + case.tokens, case.dim) for _ in "kv")
    keys[:, :, :case.keys] = torch.from_numpy(data.params["past_key"])
    values[:, :, :case.keys] = torch.from_numpy(data.params["past_value"])
    read = lambda contexts: torch.stack(list(contexts)).reshape(case.tokens, case.batch, case.heads, 1, -1).numpy()
    return Entrant(name, [lambda: function(query, key, value, keys, values, case.keys)], read, backend)


def peers(data):
    sdpa = "scaled_dot_product_attention"
    yield "torch-cache-gqa", lambda: entrant("torch-cache-gqa", by_groups, data, f"{sdpa}, enable_gqa, index_copy_")
    yield "torch-cache-rows", lambda: entrant("torch-cache-rows", by_rows, data, f"{sdpa}, a group as rows")

    def scripted():
        made = entrant("torch-cache-scripted", torch.jit.script(script), data, f"{sdpa}, a group as rows, TorchScript",
                       rows=True)
        for _ in range(3):
            made.call()  # it watches the first runs, and optimises then
        return made

    yield "torch-cache-scripted", scripted
