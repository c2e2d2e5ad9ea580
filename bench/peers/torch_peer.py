"""A subject in PyTorch: torch_peer.py SUBJECT VARIANT, in the subject's folder.

The variant prepare makes what the others need: weights.pt, inputs.npz, the output out.f32 and
model.onnx. f32 and bf16 compute when told to (protocol.py), with -compile after torch.compile."""
import sys

import numpy
import torch

import networks
import protocol

subject, variant = sys.argv[1:]
torch.set_num_threads(2)


def prepare():
    module, prefix = networks.build(subject)
    networks.fill(module, prefix)
    torch.save(module.state_dict(), "weights.pt")
    inputs = networks.inputs(subject, module)
    numpy.savez("inputs.npz", **{name: t.numpy() for name, t in inputs.items()})
    with torch.inference_mode():
        module(*inputs.values()).numpy().astype("<f4").tofile("out.f32")
    with torch.no_grad():
        torch.onnx.export(module, tuple(inputs.values()), "model.onnx", input_names=list(inputs), output_names=["out"],
                          opset_version=20, dynamo=True, external_data=True, verbose=False)


def compute():
    with torch.device("meta"):  # no memory and no initial values, which weights.pt has
        module, _ = networks.build(subject)
    dtype, _, compiled = variant.partition("-")
    # The compiled model has packed copies of its weights, so that these need not stay in memory.
    module.load_state_dict(torch.load("weights.pt", mmap=bool(compiled)), assign=True)
    module.eval().requires_grad_(False)
    inputs = [torch.from_numpy(a) for a in numpy.load("inputs.npz").values()]
    run = module
    if dtype == "bf16":
        module.to(torch.bfloat16)
        inputs = [t.to(torch.bfloat16) if t.is_floating_point() else t for t in inputs]
    if compiled:
        torch._inductor.config.freezing = True  # packs the weights once, as the others do
        run = torch.compile(module)
    with torch.no_grad():  # freezing needs no_grad, not inference_mode
        protocol.serve(lambda: run(*inputs).float().numpy())


if variant == "prepare":
    prepare()
else:
    compute()
