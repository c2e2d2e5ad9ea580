"""A subject in ONNX Runtime: onnx_peer.py SUBJECT VARIANT, in the subject's folder.

The variant prepare makes int8.onnx of model.onnx: weights of the linear layers in int8 per output
channel, their inputs quantized at run time. f32 and int8 compute when told to (protocol.py)."""
import sys

import numpy
import onnxruntime

import protocol

_, variant = sys.argv[1:]


def prepare():
    from onnxruntime import quantization

    with open("/proc/cpuinfo") as f:
        vnni = "_vnni" in f.read()
    # Without VNNI sums of two products saturate at 16 bits: then the weights have 7 bits.
    quantization.quantize_dynamic("model.onnx", "int8.onnx", op_types_to_quantize=["MatMul", "Gemm"], per_channel=True,
                                  reduce_range=not vnni, weight_type=quantization.QuantType.QInt8, use_external_data_format=True)


def compute():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 2, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    path = "int8.onnx" if variant == "int8" else "model.onnx"
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = dict(numpy.load("inputs.npz"))
    protocol.serve(lambda: session.run(None, inputs)[0])


if variant == "prepare":
    prepare()
else:
    compute()
