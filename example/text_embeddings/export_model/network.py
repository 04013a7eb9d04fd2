"""MiniLM, a small BERT, as a MindSpore network: from token ids to one vector for each sentence."""

from mindspore import nn, ops

HIDDEN = 384
HEADS = 12
LAYERS = 6
INTERMEDIATE = 1536
VOCABULARY = 30522
POSITIONS = 512
EPSILON = 1e-12
MASKED = -1e9
"""Added to the attention score of a place that holds no token."""


class Layer(nn.Cell):
    """One layer of the encoder: attention and two dense layers, each with a shortcut."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.attention_output = (nn.Dense(HIDDEN, HIDDEN) for _ in range(4))
        self.intermediate = nn.Dense(HIDDEN, INTERMEDIATE)
        self.output = nn.Dense(INTERMEDIATE, HIDDEN)
        self.gelu = nn.GELU(approximate=False)
        self.attention_norm, self.output_norm = (nn.LayerNorm((HIDDEN,), epsilon=EPSILON) for _ in range(2))

    def construct(self, x, mask):
        """x is [N, L, 384]; mask is [N, 1, 1, L], 0 for a token and very negative elsewhere."""
        x = self.attention_norm(x + self.attend(x, mask))
        return self.output_norm(x + self.output(self.gelu(self.intermediate(x))))

    def attend(self, x, mask):
        batch, length, _ = x.shape
        query, key, value = (
            dense(x).reshape(batch, length, HEADS, HIDDEN // HEADS).transpose(0, 2, 1, 3)
            for dense in (self.query, self.key, self.value)
        )
        scores = ops.matmul(query, key.transpose(0, 1, 3, 2)) / (HIDDEN // HEADS) ** 0.5
        mixed = ops.matmul(ops.softmax(scores + mask, -1), value)
        return self.attention_output(mixed.transpose(0, 2, 1, 3).reshape(batch, length, HIDDEN))


class MiniLM(nn.Cell):
    """Unit vectors float32 [N, 384] for sentences of L places: ids int32 [N, L], mask float32 [N, L]."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, HIDDEN)
        self.positions = nn.Embedding(POSITIONS, HIDDEN)
        self.types = nn.Embedding(2, HIDDEN)
        self.norm = nn.LayerNorm((HIDDEN,), epsilon=EPSILON)
        self.layers = nn.CellList([Layer() for _ in range(LAYERS)])

    def construct(self, ids, mask):
        length = ids.shape[1]
        x = self.words(ids) + self.positions.embedding_table[:length] + self.types.embedding_table[0]
        x = self.norm(x)
        added = (1 - mask)[:, None, None, :] * MASKED
        for layer in self.layers:
            x = layer(x, added)
        weights = mask[:, :, None]
        mean = (x * weights).sum(1) / weights.sum(1)
        return mean / ops.sqrt((mean * mean).sum(-1, keepdims=True))


def names_of_weights():
    """Name of each parameter of `MiniLM`, and the name of its weight in the file of the package."""
    names = {
        "words.embedding_table": "embeddings.word_embeddings.weight",
        "positions.embedding_table": "embeddings.position_embeddings.weight",
        "types.embedding_table": "embeddings.token_type_embeddings.weight",
        **norm("norm", "embeddings.LayerNorm"),
    }
    for i in range(LAYERS):
        here, there = f"layers.{i}", f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            names |= dense(f"{here}.{part}", f"{there}.attention.self.{part}")
        names |= dense(f"{here}.attention_output", f"{there}.attention.output.dense")
        names |= norm(f"{here}.attention_norm", f"{there}.attention.output.LayerNorm")
        names |= dense(f"{here}.intermediate", f"{there}.intermediate.dense")
        names |= dense(f"{here}.output", f"{there}.output.dense")
        names |= norm(f"{here}.output_norm", f"{there}.output.LayerNorm")
    return names


def dense(here, there):
    return {f"{here}.{name}": f"{there}.{name}" for name in ("weight", "bias")}


def norm(here, there):
    return {f"{here}.gamma": f"{there}.weight", f"{here}.beta": f"{there}.bias"}
