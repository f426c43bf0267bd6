#!/usr/bin/env python3
"""Reference loss and adapter gradients of Nano by PyTorch and transformers: make_reference.py OUT

Run from the root of the repository on a machine with torch and transformers (any GPU or none). The model is
models/nano with its 4-bit weights dequantised to float32. Every matrix that can be adapted has a low-rank term of rank
4 and scale 2 (routed experts: 12 of each layer); both factors hold numbers that a formula gives (see `numbers`), so the
C test makes the same ones. The batch is two sequences of the third case of reference.json, each alone in its context.

OUT is a safetensors file: `loss` [1], mean over the targets; for each adapter in the order of (layer, module, expert),
first A [rank, in], then B transposed [rank, out]: `norms` [entries, 2] of the gradients, and `samples` [entries, 2, 64],
elements floor(i * n / 64) of the gradient's n elements. `routes` [layers, tokens, k] are the experts chosen, sorted.
"""
import json
import struct
import sys

import numpy as np
import torch

RANK, SCALE, SAMPLES = 4, 2.0, 64
ATTENTION = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
GDN = ["linear_attn.in_proj_qkv", "linear_attn.in_proj_z", "linear_attn.in_proj_b", "linear_attn.in_proj_a",
       "linear_attn.out_proj"]
SHARED = ["mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj", "mlp.shared_expert.down_proj"]
NUMBER = {name: i for i, name in enumerate(ATTENTION + GDN + SHARED + ["gate", "up", "down"])}


def numbers(layer, module, expert, factor, count):
    """Uniform in +-1/16: splitmix64 of a place that names the element; exact in float32."""
    place = ((layer * 16 + module) * 1024 + expert + 1) * 2 + factor
    z = np.uint64(place) * np.uint64(1 << 32) + np.arange(count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) / (1 << 23) - 1.0).astype(np.float32) / np.float32(16)


def read_shards(folder):
    tensors = {}
    for path in sorted(set(json.load(open(f"{folder}/model.safetensors.index.json"))["weight_map"].values())):
        data = open(f"{folder}/{path}", "rb").read()
        size = struct.unpack("<Q", data[:8])[0]
        for name, entry in json.loads(data[8:8 + size]).items():
            if name == "__metadata__":
                continue
            begin, end = (8 + size + x for x in entry["data_offsets"])
            kind = {"U32": np.uint32, "F32": np.float32, "BF16": np.uint16}[entry["dtype"]]
            array = np.frombuffer(data[begin:end], dtype=kind).reshape(entry["shape"])
            if entry["dtype"] == "BF16":
                array = (array.astype(np.uint32) << 16).view(np.float32)
            tensors[name.removeprefix("language_model.")] = array
    return tensors


def dequantise(tensors, base):
    packed, scales, biases = (tensors[f"{base}.{x}"] for x in ("weight", "scales", "biases"))
    cols = scales.shape[-1] * 64
    bits = 32 * packed.shape[-1] // cols
    codes = np.stack([(packed >> np.uint32(bits * i)) & np.uint32((1 << bits) - 1) for i in range(32 // bits)], -1)
    codes = codes.reshape(*scales.shape, 64).astype(np.float32)
    return (codes * scales[..., None] + biases[..., None]).reshape(*scales.shape[:-1], cols)


def state_dict(tensors):
    out = {}
    for name in sorted(tensors):
        if name.startswith("mtp.") or name.endswith((".scales", ".biases")):
            continue
        base = name.removesuffix(".weight")
        value = dequantise(tensors, base) if f"{base}.scales" in tensors else tensors[name]
        if name.endswith("conv1d.weight"):
            value = value.transpose(0, 2, 1)
        if name.endswith("norm.weight") and "linear_attn" not in name:
            value = value - np.float32(1)
        out[name] = value
    for name in [n for n in out if ".switch_mlp.gate_proj" in n]:
        stem = name[:name.index("switch_mlp")]
        gate, up, down = (out.pop(f"{stem}switch_mlp.{x}_proj.weight") for x in ("gate", "up", "down"))
        out[f"{stem}experts.gate_up_proj"] = np.concatenate([gate, up], 1)
        out[f"{stem}experts.down_proj"] = down
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in out.items()}


def open_model(device):
    from transformers.models.qwen3_5_moe import configuration_qwen3_5_moe, modeling_qwen3_5_moe
    config = configuration_qwen3_5_moe.Qwen3_5MoeTextConfig(**json.load(open("models/nano/config.json"))["text_config"])
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    model = modeling_qwen3_5_moe.Qwen3_5MoeForCausalLM(config).float()
    missing, unexpected = model.load_state_dict(state_dict(read_shards("models/nano")), strict=False)
    print("missing", missing, "unexpected", unexpected)
    assert not missing and not unexpected
    return model.to(device).eval().requires_grad_(False), config


class Entry:
    def __init__(self, layer, module, expert, shape, device):
        out, into = shape
        number = NUMBER[module]
        self.key = (layer, number, expert)
        make = lambda factor, n: torch.from_numpy(numbers(layer, number, expert, factor, RANK * n).reshape(RANK, n))
        self.a = make(0, into).to(device).requires_grad_()
        self.b = make(1, out).to(device).requires_grad_()

    def delta(self):
        return SCALE * (self.b.T @ self.a)


def replace(module, name, value):
    if name in module._parameters:
        del module._parameters[name]
    setattr(module, name, value)


def adapt(model, config, device):
    """Gives every matrix its low-rank term, as a weight that is a function of the factors."""
    entries = []
    for i, layer in enumerate(model.model.layers):
        mixer = ATTENTION if config.layer_types[i] == "full_attention" else GDN
        for name in mixer + SHARED:
            linear = layer.get_submodule(name)
            entry = Entry(i, name, -1, linear.weight.shape, device)
            entries.append(entry)
            replace(linear, "weight", linear.weight.data + entry.delta())
        experts = layer.mlp.experts
        width, hidden = experts.down_proj.shape[2], experts.down_proj.shape[1]
        gate_up, down = experts.gate_up_proj.data, experts.down_proj.data
        more, more_down = torch.zeros_like(gate_up), torch.zeros_like(down)
        gate_up_rows, down_rows = list(more.unbind(0)), list(more_down.unbind(0))
        for e in sorted({(7 * j + i) % 64 for j in range(12)}):
            gate, up = (Entry(i, x, e, (width, hidden), device) for x in ("gate", "up"))
            back = Entry(i, "down", e, (hidden, width), device)
            entries += [gate, up, back]
            gate_up_rows[e] = torch.cat([gate.delta(), up.delta()], 0)
            down_rows[e] = back.delta()
        replace(experts, "gate_up_proj", gate_up + torch.stack(gate_up_rows))
        replace(experts, "down_proj", down + torch.stack(down_rows))
    return sorted(entries, key=lambda entry: entry.key)


def write(path, arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        kind = {"float32": "F32", "int32": "I32"}[str(array.dtype)]
        header[name] = {"dtype": kind, "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


def main():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    model, config = open_model(device)
    ids = json.load(open("models/nano/reference.json"))["cases"][2]["ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids], device=device)).logits[0].log_softmax(-1)
        nll = -logits[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].mean().item()
    print("mean nll without adapters", nll, "reference.json says",
          json.load(open("models/nano/reference.json"))["cases"][2]["mean_nll"])
    routes = []
    hooks = [layer.mlp.gate.register_forward_hook(lambda m, i, o: routes.append(o[-1].sort(-1).values.int().cpu()))
             for layer in model.model.layers]
    entries = adapt(model, config, device)
    total, count, kept = 0.0, 0, []
    for sequence in (ids[:150], ids[200:296]):
        logits = model(torch.tensor([sequence], device=device)).logits[0].log_softmax(-1)
        for i in range(len(sequence) - 1):
            if i % 5:
                total = total - logits[i, sequence[i + 1]]
                count += 1
        kept.append(torch.stack([r.reshape(-1, config.num_experts_per_tok) for r in routes]))
        routes.clear()
    loss = total / count
    loss.backward()
    print("loss", loss.item(), "targets", count, "entries", len(entries))
    norms = np.zeros((len(entries), 2), np.float32)
    samples = np.zeros((len(entries), 2, SAMPLES), np.float32)
    for i, entry in enumerate(entries):
        for j, factor in enumerate((entry.a, entry.b)):
            gradient = factor.grad.double().cpu().numpy().reshape(-1)
            norms[i, j] = np.sqrt((gradient ** 2).sum())
            samples[i, j] = gradient[np.arange(SAMPLES) * gradient.size // SAMPLES]
    write(sys.argv[1], {"loss": np.array([loss.item()], np.float32), "norms": norms, "samples": samples,
                        "routes": torch.cat(kept, 1).numpy().astype(np.int32)})


main()
