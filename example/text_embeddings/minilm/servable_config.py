"""Servable `minilm`: what a sentence means, as a vector. Sentences that mean the same have vectors that are close."""

from minilm.tokens import ids_and_mask, newest_tokenizer

from mindspore_serving.server import register

# Any number of sentences, of any number of tokens. Those of one length run together.
model = register.declare_model(
    model_file="minilm.mindir", model_format="MindIR", with_batch_dim=True, max_batch_size=32
)
tokenizer = newest_tokenizer()

TEXT = register.Text("a sentence in English; what is beyond 256 tokens is cut off")


def tokenize(sentence):
    return ids_and_mask(tokenizer, sentence)


def cosine(a, b):
    """Vectors have the length 1, so the cosine of their angle is their product."""
    return a @ b


@register.register_method(
    output_names=["vector"],
    inputs={"sentence": TEXT},
    outputs={"vector": register.TensorSpec("float32", [384], "of length 1")},
    examples=[{"sentence": "The weather is lovely today."}],
)
def embed(sentence):
    """The vector of a sentence."""
    ids, mask = register.add_stage(tokenize, sentence, outputs_count=2)
    return register.add_stage(model, ids, mask, outputs_count=1)


@register.register_method(
    output_names=["score"],
    inputs={"a": TEXT, "b": TEXT},
    outputs={
        "score": register.TensorSpec("float32", [], "1 for the same meaning, about 0 for none in common")
    },
    examples=[{"a": "The weather is lovely today.", "b": "It's so sunny outside!"}],
)
def similarity(a, b):
    """How close two sentences are."""
    vectors = []
    for sentence in (a, b):
        ids, mask = register.add_stage(tokenize, sentence, outputs_count=2)
        vectors.append(register.add_stage(model, ids, mask, outputs_count=1))
    return register.add_stage(cosine, *vectors, outputs_count=1)
