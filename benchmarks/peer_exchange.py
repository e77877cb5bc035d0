"""The other side of exchange.py: FOLDER ARCH; prints the versions of what is there as JSON."""

import json
import sys
from pathlib import Path

import torch
from peer_torch import declare_operators
from safetensors.torch import load_file, save_file


def networks(arch):
    """Yield (name, version, network) of the libraries that are installed."""
    declare_operators()
    import torchvision

    plain = getattr(torchvision.models, arch)()
    plain.fc = torch.nn.Identity()
    yield "torchvision", torchvision.__version__, plain
    import fastai
    from fastai.vision.all import create_vision_model

    model = create_vision_model(getattr(torchvision.models, arch), 5, pretrained=False)
    yield "fastai", fastai.__version__, model
    try:
        import timm
    except ImportError:
        return
    yield "timm", timm.__version__, timm.create_model(arch, num_classes=0)


def stir(model):
    """Give batch norms statistics and scales as of a training."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                value.normal_(0, 0.1)


def main(folder, arch):
    folder, versions = Path(folder), {}
    torch.manual_seed(2)
    x = load_file(folder / "x.safetensors")["x"]
    for name, version, model in networks(arch):
        versions[name] = version
        model.eval()
        stir(model)
        save_file(model.state_dict(), folder / f"theirs-{name}.safetensors")
        with torch.no_grad():
            theirs = model(x)
            model.load_state_dict(load_file(folder / f"ours-{name}.safetensors"))
            answers = {"ours": model(x), "theirs": theirs}
        save_file({k: v.contiguous() for k, v in answers.items()},
                  folder / f"answers-{name}.safetensors")
    print(json.dumps(versions))


if __name__ == "__main__":
    main(*sys.argv[1:])
