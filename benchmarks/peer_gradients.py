"""The other side of gradients.py: FOLDER ARCH LIBRARY LABELS."""

import sys
from pathlib import Path

import torch
from peer_torch import declare_operators
from safetensors.torch import load_file, save_file


def network(arch, library, labels):
    declare_operators()
    if library == "timm":
        import timm

        return timm.create_model(arch, num_classes=labels)
    import torchvision

    return getattr(torchvision.models, arch)(num_classes=labels)


def main(folder, arch, library, labels):
    folder, model = Path(folder), network(arch, library, int(labels))
    weights, batch = (load_file(folder / f"{name}.safetensors") for name in ("weights", "batch"))
    counts = {name for name in model.state_dict() if name.endswith("num_batches_tracked")}
    for dtype in (torch.float32, torch.float64):
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert set(missing) <= counts and not unexpected, (missing, unexpected)
        model.to(dtype)
        x, g = batch["x"].to(dtype), batch["g"].to(dtype)
        with torch.no_grad():
            told = {"logits": model.eval()(x)}
        model.train().zero_grad()
        told["trained"] = model(x)
        told["trained"].backward(g)
        told |= {f"gradient {name}": p.grad for name, p in model.named_parameters()}
        kind = str(dtype).removeprefix("torch.")
        save_file({name: value.detach().contiguous() for name, value in told.items()},
                  folder / f"{kind}.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
