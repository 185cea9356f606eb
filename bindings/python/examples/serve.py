# SPDX-License-Identifier: BSD-3-Clause
"""serve.py: examples/serve.c in Python, with the same weights and the same tokens: a server of a small decoder. Prompts are
read in pieces beside conversations that talk, a system prompt is computed and kept once for all, guesses of what comes
next are a tree in one call. All layers of all conversations have their keys and values in one pool of pages. In the end
each conversation is computed anew, by itself and at once: its tokens must be the same."""

import math
import sys
from dataclasses import dataclass, field

import attn
import numpy as np

VOCABULARY, LAYERS, DIM, QUERY_HEADS, KEY_HEADS, HEAD_DIM, HIDDEN = 96, 3, 64, 8, 2, 16, 128
WINDOW = 24          # the keys that a query sees, itself among them
CONVERSATIONS = 6    # at once, at most, the system prompt among them
BUDGET = 40          # rows of a step, at most
BRANCH = 3           # guesses of a branch, at most
LONGEST, PAGE = 192, 8

SYSTEM = "You are a helpful parrot. Answer at once, and in words that you were taught.\n"
REQUESTS = (  # arrives at this step, begins with the system prompt, the prompt, tokens that are wanted
    (0, False, "Polly wants a cracker. Polly wants a", 40),
    (0, True, "What does Polly want?\n", 48),
    (1, True, "Who is a pretty bird? Who is a pretty bird?\n", 40),
    (3, True, "Say one, two, three, one, two, three, one.\n", 24),
    (4, False, "Pieces of eight! Pieces of eight! Pieces of", 32),
    (9, True, "Hello.\n", 48),
    (12, True, "What does Polly want?\n", 20),
    (15, True, "Sing a song of sixpence, a pocket full of rye; four and twenty blackbirds, baked in a pie.\n", 16),
    (30, True, "Goodbye.\n", 24))


# ------------------------------------------------------------------------------------------------------- the model

def numbers(tensor, shape, middle, most):
    """Between middle - most and middle + most; they depend on the tensor's number alone."""
    bits = np.arange(math.prod(shape), dtype=np.uint32) + np.uint32(tensor * 0x9e3779b9 % 2**32)
    bits = (bits ^ bits >> 16) * np.uint32(0x7feb352d)  # mixed: a counter becomes noise
    bits = (bits ^ bits >> 15) * np.uint32(0x846ca68b)
    bits ^= bits >> 16
    unit = (bits >> 8).astype(np.float32) / np.float32(8388608) - np.float32(1)
    return (np.float32(middle) + np.float32(most) * unit).reshape(shape)


def matrix(tensor, rows, columns, size):
    """Its products with numbers of about 1 are of about `size`."""
    return numbers(tensor, (rows, columns), 0, size * math.sqrt(3 / columns))


def normalise(gain, x):
    """Root mean square normalisation (Zhang 2019)."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(1e-5)) * gain


class Block:
    def __init__(self, mechanism, tensor):
        inner, outer = QUERY_HEADS * HEAD_DIM, KEY_HEADS * HEAD_DIM
        self.attention = attn.MultiHead(
            DIM, QUERY_HEADS, key_heads=KEY_HEADS, head_dim=HEAD_DIM, mechanism=mechanism, bias=False,
            rope=attn.Rope("halves"), params={
                "W_q": matrix(tensor, inner, DIM, 3), "W_k": matrix(tensor + 1, outer, DIM, 1),
                "W_v": matrix(tensor + 2, outer, DIM, 1), "W_o": matrix(tensor + 3, DIM, inner, 0.2)})
        self.gate, self.up = matrix(tensor + 4, HIDDEN, DIM, 1), matrix(tensor + 5, HIDDEN, DIM, 1)
        self.down = matrix(tensor + 6, DIM, HIDDEN, 0.1)
        self.attention_gain, self.network_gain = (numbers(tensor + i, (DIM,), 1, 0.25) for i in (7, 8))

    def feed_forward(self, x):
        gate = x @ self.gate.T
        return (gate / (1 + np.exp(-gate)) * (x @ self.up.T)) @ self.down.T


class Model:
    def __init__(self):
        self.mechanism = attn.Mechanism(causal="bottom_right", window=(WINDOW - 1, 0))  # of all layers: one memory will do
        self.blocks = [Block(self.mechanism, 10 * (layer + 1)) for layer in range(LAYERS)]
        self.embedding, self.output = numbers(1, (VOCABULARY, DIM), 0, 1), matrix(2, VOCABULARY, DIM, 3)
        self.gain = numbers(3, (DIM,), 1, 0.25)

    def memory(self, sequences):
        return self.blocks[0].attention.memory(batch=sequences, page=PAGE)

    def best(self, tokens, offsets=(None,) * LAYERS, **keywords):
        """The most likely token after each row: of one sequence, or over a memory of several, one behind the other;
        offsets say for each layer whose rows are whose."""
        x = self.embedding[tokens]
        for block, of_layer in zip(self.blocks, offsets):
            normed = normalise(block.attention_gain, x)
            x = x + block.attention(normed, query_offsets=of_layer, **keywords)
            x = x + block.feed_forward(normalise(block.network_gain, x))
        return (normalise(self.gain, x) @ self.output.T).argmax(axis=-1).tolist()


# ---------------------------------------------------------------------------------------------- the rows of a step

@dataclass
class Part:
    """What one conversation has in a step."""
    first: int    # its first row
    kept: int     # tokens that the memory has of it already
    certain: int  # rows that are no guesses, and come first
    end: int = 0  # the row behind its last one


@dataclass
class Batch:
    parts: list = field(default_factory=list)
    tokens: list = field(default_factory=list)
    after: list = field(default_factory=list)  # the row that a row follows; None: the last one that the memory has
    positions: list = field(default_factory=list)
    guesses: int = 0                           # the most that one conversation has

    def row(self, token, after, position):
        for column, entry in zip((self.tokens, self.after, self.positions), (token, after, position)):
            column.append(entry)

    def add(self, kept, tokens, guesses):
        """The next conversation: tokens, and guesses (token, the index of the guess that it follows) of what follows."""
        first = len(self.tokens)
        tree = first + len(tokens)
        for i, token in enumerate(tokens):
            self.row(token, first + i - 1 if i else None, kept + i)
        for token, parent in guesses:  # stands one behind the row that it follows, wherever its own row is
            after = tree - 1 if parent is None else tree + parent
            self.row(token, after, self.positions[after] + 1)
        self.parts.append(Part(first, kept, len(tokens), len(self.tokens)))
        self.guesses = max(self.guesses, len(guesses))

    def guess(self, part, row, token):
        """The guess of the token that follows a row, or None."""
        return next((i for i in range(part.first + part.certain, part.end)
                     if self.after[i] == row and self.tokens[i] == token), None)

    def offsets(self, layer):
        """Sequences of the memory are the layers of conversation 0, those of 1, ...: a layer has the rows of a conversation
        in one of these, and none in the others."""
        return [0, *(part.end if i >= layer else part.first for part in self.parts for i in range(LAYERS))]

    def show(self, part, i, columns):
        """What row i sees of its last keys. The window is one of positions: of keys from before the step, and of the rows
        that it follows. Its brothers and their children are not among them."""
        nearest = self.positions[i] - WINDOW + 1
        columns[len(columns) - (part.end - part.first) - part.kept + np.arange(max(nearest, 0), part.kept)] = True
        row = i
        while row is not None and self.positions[row] >= nearest:
            columns[row - part.end] = True
            row = self.after[row]

    def best(self, model, memory):
        """The most likely token after each row; all rows are appended to the memory, guesses too."""
        of_layers = [self.offsets(layer) for layer in range(LAYERS)]
        if self.guesses == 0:  # causal, a window, and positions that the memory knows: nothing more to say
            return model.best(self.tokens, of_layers, memory=memory)
        # A tree takes more places in the memory than positions, so that a window of places is too narrow by as many as
        # there are guesses. Let it be wider, and the mask say what is seen: of so many of the last keys that what is before
        # them is outside of the window of any row.
        left = WINDOW - 1 + self.guesses
        mask = np.zeros((len(self.tokens), left + max(part.end - part.first for part in self.parts)), bool)
        for part in self.parts:
            for i in range(part.first, part.end):
                self.show(part, i, mask[i])
        model.mechanism.set_window(left, 0, "bottom_right")
        best = model.best(self.tokens, of_layers, memory=memory, mask=mask, mask_align="bottom_right",
                          positions=self.positions)
        model.mechanism.set_window(WINDOW - 1, 0, "bottom_right")
        return best


# ------------------------------------------------------------------------------------------------------ the server

class Drafts:
    """Guesses of what a conversation says next, from what was said before, in this one or another."""

    def __init__(self):
        self.followers = {}  # of each token the two that were the last to follow it, the latest first

    def learn(self, token, follower):
        known = self.followers.get(token, ())
        if known[:1] != (follower,):
            self.followers[token] = (follower, *known[:1])

    def make(self, token, most):
        """A branch for each follower, that goes on with the latest follower of each guess."""
        guesses = []
        for follower in self.followers.get(token, ()):
            for depth in range(min(most, BRANCH)):
                guesses.append((follower, len(guesses) - 1 if depth else None))
                if follower not in self.followers:
                    break
                follower = self.followers[follower][0]
        return guesses


@dataclass
class Conversation:
    request: int   # its number; -1: the system prompt, which asks nothing
    tokens: list   # the prompt, and what was said since
    kept: int = 0  # so many of them have keys and values in the memory
    wanted: int = 0
    joined: int = 0
    left: int = 0

    def __post_init__(self):
        self.prompt = len(self.tokens)
        self.end = min(self.prompt + self.wanted, LONGEST) if self.request >= 0 else 0


def spelt(text):
    return [VOCABULARY - 1 if letter == "\n" else ord(letter) - 32 for letter in text]


def written(tokens):
    return "".join("\\n" if token == VOCABULARY - 1 else chr(32 + token) for token in tokens)


class Server:
    def __init__(self, model):
        self.model, self.memory, self.drafts = model, model.memory(LAYERS), Drafts()
        self.at, self.finished = [Conversation(-1, spelt(SYSTEM))], {}
        self.waiting = list(enumerate(REQUESTS))
        self.step_number = self.rows = self.mixed = self.guessed = self.accepted = self.second = 0
        self.pages = self.apart = 0

    def may_join(self):
        if not self.waiting or len(self.at) == CONVERSATIONS:
            return False
        _, (arrives, shares, _, _) = self.waiting[0]
        return arrives <= self.step_number and (not shares or self.at[0].kept == self.at[0].prompt)

    def turn_over(self):
        """Those that are done leave, those that wait join, with the pages of the system prompt or with none, by one call for
        the memory."""
        stay = [i for i, c in enumerate(self.at) if c.request < 0 or len(c.tokens) < c.end]
        for c in self.at:
            if c.request >= 0 and len(c.tokens) == c.end:
                c.left = self.step_number
                self.finished[c.request] = c
        changed, self.at = len(stay) < len(self.at), [self.at[i] for i in stay]
        while self.may_join():
            number, (_, shares, prompt, wanted) = self.waiting.pop(0)
            begins = self.at[0] if shares else Conversation(-1, [])
            self.at.append(Conversation(number, begins.tokens + spelt(prompt), begins.kept, wanted, self.step_number))
            stay.append(0 if shares else -1)
            changed = True
        if changed:
            self.memory.reorder([i if i < 0 else i * LAYERS + layer for i in stay for layer in range(LAYERS)])

    def plan(self):
        """Whose last token alone is to be read, goes on talking: that row and guesses. The others read as much of their
        prompts as the budget leaves."""
        unread = [len(c.tokens) - c.kept for c in self.at]
        guesses = [self.drafts.make(c.tokens[-1], c.end - len(c.tokens) - 1)
                   if rows == 1 and len(c.tokens) > c.prompt else [] for c, rows in zip(self.at, unread)]
        left = BUDGET - sum(1 + len(tree) for tree, rows in zip(guesses, unread) if rows == 1)
        batch = Batch()
        for c, rows, tree in zip(self.at, unread, guesses):
            if rows != 1:
                rows = min(rows, left)
                left -= rows
            batch.add(c.kept, c.tokens[c.kept:c.kept + rows], tree)
        return batch

    def speak(self, c, batch, part, best):
        """Says what is most likely, and goes on from guess to guess as long as they are that: the rows that came true."""
        came_true, row = [], part.first + part.certain - 1
        while row is not None:
            self.drafts.learn(c.tokens[-1], best[row])
            c.tokens.append(best[row])
            following = batch.guess(part, row, best[row]) if len(c.tokens) < c.end else None
            if following is not None:
                self.second += following > row + 1
                came_true.append(following)
            row = following
        return came_true

    def settle(self, batch, best):
        """Reads what came of the step; the memory forgets guesses that did not come true, in all layers."""
        lengths, positions, offsets = [], [], [0]
        for c, part in zip(self.at, batch.parts):
            c.kept += part.certain
            speaks = part.certain > 0 and c.kept == len(c.tokens) < c.end
            came_true = self.speak(c, batch, part, best) if speaks else []
            for _ in range(LAYERS):
                lengths.append(c.kept)
                positions += [part.kept + row - part.first for row in came_true]
                offsets.append(len(positions))
            c.kept += len(came_true)
            self.accepted += len(came_true)
            self.guessed += part.end - part.first - part.certain
        if batch.guesses:
            self.memory.keep(lengths, positions, offsets)

    def count(self, batch):
        used = self.memory.pages.total - self.memory.pages.unused
        if used > self.pages:
            self.pages, self.apart = used, sum(-(-c.kept // PAGE) * LAYERS for c in self.at[1:])
        certain = [part.certain for part in batch.parts]
        self.mixed += max(certain) > 1 and 1 in certain
        self.rows += len(batch.tokens)
        self.step_number += 1

    def step(self):
        """Some leave, some join, all the others go on. False: there is nothing left to do."""
        self.turn_over()
        if len(self.at) == 1 and not self.waiting:
            return False
        batch = self.plan()
        self.settle(batch, batch.best(self.model, self.memory))
        self.count(batch)
        return True


def main():
    model = Model()
    server = Server(model)
    while server.step():
        pass
    said = wrong = 0
    for number, c in sorted(server.finished.items()):
        same = model.best(c.tokens)[c.prompt - 1:-1] == c.tokens[c.prompt:]  # no memory, no guesses, nothing shared
        wrong += not same
        said += len(c.tokens) - c.prompt
        print(f"request {number}, steps {c.joined} to {c.left - 1}: {'' if same else 'NOT AS RECOMPUTED: '}"
              f"{written(c.tokens[c.prompt:])}")
    print(f"{said} tokens for {len(REQUESTS)} requests in {server.step_number} steps of "
          f"{server.rows / server.step_number:.1f} rows; {server.mixed} steps both prefilled and decoded")
    print(f"{server.accepted} of {server.guessed} guesses came true, the second branch {server.second} times")
    print(f"at most {server.pages} pages in use; without sharing it would have been {server.apart}")
    print(f"{wrong} conversations are not as recomputed" if wrong else "all tokens equal those of recomputation")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
