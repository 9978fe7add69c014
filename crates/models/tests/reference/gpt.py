"""Makes gpt.safetensors: what transformers' GPT2LMHeadModel computes from weights that a formula gives.

pip install torch numpy transformers safetensors; python gpt.py

All is computed in f64 from weights that are exact in f32, without dropout, and stored in f32: logits, loss and the gradients of
all parameters under their names there, for a model with a head of its own (`untied/…`) and for one without (`tied/…`).
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

from formula import scaled

VOCABULARY, CONTEXT, WIDTH, LAYERS, HEADS, BATCH, LENGTH = 61, 16, 32, 2, 4, 3, 13


def model(tied):
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        tie_word_embeddings=tied,
        attn_implementation="eager",
    )
    gpt = GPT2LMHeadModel(config).double()
    with torch.no_grad():
        for name, parameter in gpt.named_parameters():
            gain = name.endswith("weight") and ".ln_" in name
            parameter.copy_(scaled(name, parameter.shape, 1.0 if gain else 0.0, 0.25 if gain else 0.5))
    return gpt


def main():
    ids = torch.tensor([[(7 * b + 5 * t + t * t) % VOCABULARY for t in range(LENGTH)] for b in range(BATCH)])
    targets = (3 * ids + 1) % VOCABULARY
    tensors = {}
    for name, tied in [("untied", False), ("tied", True)]:
        gpt = model(tied)
        logits = gpt(ids).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        tensors[f"{name}/logits"], tensors[f"{name}/loss"] = logits, loss
        for parameter, values in gpt.named_parameters():
            tensors[f"{name}/{parameter}"] = values.grad
        print(f"{name}: loss {loss.item():.6f}, {sum(p.numel() for p in gpt.parameters()):,} parameters")
    tensors = {name: values.detach().float().contiguous() for name, values in tensors.items()}
    save_file(tensors, Path(__file__).with_name("gpt.safetensors"))


if __name__ == "__main__":
    main()
