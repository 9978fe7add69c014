"""Makes the folder bert: a small BERT for classification with random weights, saved by transformers, and what it computes.

pip install torch transformers numpy safetensors; python bert.py

All is computed in f64 from the weights in the file; the differences of PyTorch's own f32 are printed.
"""

import json
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification

from formula import digest

FOLDER = Path(__file__).with_name("bert")
# Pairs of sentences: how many tokens have type 0, how many type 1.
PAIRS = [(4, 3), (3, 2), (2, 1), (5, 4)]
LENGTH = max(a + b for a, b in PAIRS)


def inputs():
    ids = [[(i * 17 + j * 7) % 49 + 1 if j < a + b else 0 for j in range(LENGTH)] for i, (a, b) in enumerate(PAIRS)]
    types = [[int(a <= j < a + b) for j in range(LENGTH)] for a, b in PAIRS]
    mask = [[int(j < a + b) for j in range(LENGTH)] for a, b in PAIRS]
    return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}


def compute(model):
    tensors = {name: torch.tensor(rows) for name, rows in inputs().items()}
    hidden = model.bert(**tensors).last_hidden_state
    logits = model(**tensors).logits
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(len(PAIRS)) % 3)
    loss.backward()
    # The state of padding depends on nothing that is tested, and nothing tested depends on it.
    hidden = hidden * tensors["attention_mask"].unsqueeze(2)
    found = {"hidden states": hidden, "logits": logits}
    found |= {f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()}
    return loss.item(), {name: digest(name, value) for name, value in found.items()}


def main():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=16, num_labels=3, layer_norm_eps=1e-6, pad_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    model = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Far from 0 and 1, so that every part matters.
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(FOLDER)
    loss, single = compute(model)
    model = model.double()
    model.zero_grad()
    loss_double, double = compute(model)
    worst = max(max(abs(a - b) for a, b in zip(double[n], single[n])) / double[n][0] for n in double if double[n][0] > 1e-6)
    print(f"loss {loss_double:.6f}; f32 differs by {abs(loss - loss_double):.1e}, a tensor by at most {worst:.1e}")
    expected = {"loss": loss_double, "inputs": inputs(), "tensors": double}
    (FOLDER / "expected.json").write_text(json.dumps(expected) + "\n")


main()
