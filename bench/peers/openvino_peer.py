"""A subject in OpenVINO: openvino_peer.py SUBJECT VARIANT, in the subject's folder.

The variant prepare makes int8.xml of model.onnx: NNCF quantizes weights and activations, calibrated
on the subject's input. f32, bf16 and int8 compute when told to (protocol.py); what int8 leaves in
floating point is OpenVINO's choice."""
import sys

import numpy
import openvino

import protocol

_, variant = sys.argv[1:]


def prepare():
    import nncf

    inputs = dict(numpy.load("inputs.npz"))
    quantized = nncf.quantize(openvino.Core().read_model("model.onnx"), nncf.Dataset([inputs]), subset_size=1, model_type=nncf.ModelType.TRANSFORMER)
    openvino.save_model(quantized, "int8.xml", compress_to_fp16=False)


def compute():
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": "2",
        "SCHEDULING_CORE_TYPE": "ANY_CORE",
        "ENABLE_HYPER_THREADING": "YES",
    }
    if variant != "int8":
        config["INFERENCE_PRECISION_HINT"] = variant
    path = "int8.xml" if variant == "int8" else "model.onnx"
    model = openvino.Core().compile_model(path, "CPU", config)
    request = model.create_infer_request()
    inputs = dict(numpy.load("inputs.npz"))
    out = model.output(0)
    protocol.serve(lambda: request.infer(inputs, share_inputs=True, share_outputs=True)[out])


if variant == "prepare":
    prepare()
else:
    compute()
