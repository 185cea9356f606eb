# SPDX-License-Identifier: BSD-3-Clause
"""command_calls.py COMMAND: what attn run does beside attention itself, against NumPy formulas: numbers, gradients
against the differences of the formulas, and refusals."""

import io
import os
import unittest

import numpy as np
from command_support import InAnEmptyFolder, softmax


class AttentionalStep(InAnEmptyFolder):
    RUN = ("run", "--score", "general", "--query", "query.npy", "--key", "key.npy", "--param", "W=W.npy", "--param",
           "W_c=W_c.npy")

    def make(self, **shapes):
        shapes = {"query": (2, 3, 6), "key": (2, 5, 4), "W": (6, 4), "W_c": (7, 10), **shapes}
        return {name: self.normal(name + ".npy", *shape, dtype="f8") for name, shape in shapes.items()}

    @staticmethod
    def outputs(t):
        weights = softmax(t["query"] @ t["W"] @ t["key"].swapaxes(-1, -2))
        context = weights @ t.get("value", t["key"])
        output = np.tanh(np.concatenate([context, t["query"]], -1) @ t["W_c"].T + t.get("b_c", 0))
        return {"output": output, "context": context, "weights": weights}

    def check(self, options, flows, **shapes):
        t = self.make(**shapes)
        d = self.run_with_gradients((*self.RUN, *options), self.outputs(t), flows)
        self.check_gradients(t, lambda: sum((d[name] * self.outputs(t)[name]).sum() for name in d))

    def test_output_and_gradients(self):
        self.check((), ("output",))
        self.check(("--param", "b_c=b_c.npy", "--value", "value.npy"), ("output", "context", "weights"), b_c=(7,),
                   value=(2, 5, 3), W_c=(7, 9))

    def test_the_state_of_the_step_does_not_turn(self):
        t = self.make(key=(2, 5, 6), W=(6, 6), W_c=(7, 12))
        options = ("--rope", "halves", "--query-start", "2")
        self.good(*self.RUN, *options, "--output", "o.npy", "--context", "c.npy")
        want = np.tanh(np.concatenate([np.load("c.npy"), t["query"]], -1) @ t["W_c"].T)
        np.testing.assert_allclose(np.load("o.npy"), want, atol=1e-12)
        os.mkdir("gradients")
        self.normal("d_output.npy", 2, 3, 7, dtype="f8")
        self.good(*self.RUN, *options, "--d-output", "d_output.npy", "--grad-out", "gradients")

        def loss():
            np.save("query.npy", t["query"])
            out = self.good(*self.RUN, *options)
            return (np.load(io.BytesIO(out)) * np.load("d_output.npy")).sum()

        self.assertEqual({"d_query.npy", "d_key.npy", "d_W.npy", "d_W_c.npy"}, set(os.listdir("gradients")))
        for at in ((0, 0, 0), (1, 2, 5)):
            here = t["query"][at]
            t["query"][at] = here + 1e-6
            more = loss()
            t["query"][at] = here - 1e-6
            self.assertAlmostEqual(np.load("gradients/d_query.npy")[at], (more - loss()) / 2e-6, places=6)
            t["query"][at] = here

    def test_refusals(self):
        self.make(W3=(7, 9), b_c=(7,), b_3=(3,), d_output=(2, 3, 7), d_context=(2, 3, 4), d_flat=(3, 4))
        np.save("o.npy", np.arange(3))
        os.mkdir("gradients")
        plain, out = self.RUN[:-2], ("--output", "o.npy")
        into = ("--grad-out", "gradients", *out)
        self.refuse_all([
            ((*plain, *out), "--output needs --param W_c"),
            ((*plain, "--param", "b_c=b_c.npy", "--context", "c.npy"), "--param b_c needs --param W_c"),
            ((*plain, "--d-output", "d_output.npy", "--grad-out", "gradients"), "--d-output needs --param W_c"),
            ((*self.RUN, "--context", "c.npy"), "needs --output"),
            ((*self.RUN, "--d-output", "d_output.npy", *out), "--d-output needs --grad-out"),
            ((*self.RUN, "--d-context", "d_context.npy", *into), "needs --d-output"),
            ((*self.RUN, "--d-output", "d_context.npy", *into), "d_output"),
            ((*self.RUN, "--d-output", "d_output.npy", "--d-context", "d_flat.npy", *into), "d_context"),
            ((*self.RUN, "--param", "b_c=b_3.npy", *out), "bias"),
            ((*plain, "--param", "W_c=W3.npy", *out), "weight"),
            ((*plain, "--param", "W_c=b_c.npy", *out), "weight"),
        ])


if __name__ == "__main__":
    unittest.main(verbosity=1)
