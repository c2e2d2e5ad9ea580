package checkpoint

import (
	"errors"
	"fmt"
	"strings"
)

// global is a class or a function that a pickle may name. Calling one runs code of this package alone, and makes a value.
type global struct {
	name  string                        // module.name
	dtype DType                         // of a class of storages, or of a torch.dtype
	call  func(args tuple) (any, error) // nil for what cannot be called
}

// globals is all that a pickle may name.
var globals = makeGlobals()

func makeGlobals() map[string]*global {
	all := map[string]*global{}
	add := func(dtype DType, call func(tuple) (any, error), names ...string) {
		for _, name := range names {
			all[name] = &global{name, dtype, call}
		}
	}
	add("", orderedDict, "collections.OrderedDict")
	add("", rebuildTensor, "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
	add("", rebuildTensorV3, "torch._utils._rebuild_tensor_v3")
	add("", firstTensor, "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
	add("", rebuildFromType, "torch._tensor._rebuild_from_type_v2")
	add("", torchSize, "torch.Size")
	add("", nil, "torch.Tensor", "torch.nn.parameter.Parameter", "numpy.ndarray")
	for _, module := range []string{"torch.", "torch.cuda."} {
		for class, dtype := range storageClasses {
			add(dtype, nil, module+class)
		}
	}
	add(bytesOf, nil, "torch.storage.UntypedStorage", "torch.storage._UntypedStorage", "torch.UntypedStorage")
	for name, dtype := range torchTypes {
		add(dtype, nil, "torch."+name)
	}
	for _, name := range recordClasses {
		add("", func(args tuple) (any, error) { return &record{class: name, args: args}, nil }, name)
	}
	return all
}

// storageClasses are torch's classes of storages by the type of their elements.
var storageClasses = map[string]DType{
	"DoubleStorage": F64, "FloatStorage": F32, "HalfStorage": F16, "BFloat16Storage": BF16,
	"LongStorage": I64, "IntStorage": I32, "ShortStorage": I16, "CharStorage": I8, "ByteStorage": U8, "BoolStorage": Bool,
}

// bytesOf is the type of a storage's elements where only the tensors in it say what they are.
const bytesOf DType = "bytes"

// torchTypes are the values of torch.dtype. Those that safetensors alone knows how to name can be listed but not read.
var torchTypes = map[string]DType{
	"float64": F64, "float32": F32, "float16": F16, "bfloat16": BF16,
	"int64": I64, "int32": I32, "int16": I16, "int8": I8, "uint8": U8, "bool": Bool,
	"uint16": "U16", "uint32": "U32", "uint64": "U64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
	"complex64": "C64", "complex128": "C128",
}

// recordClasses are what training scripts keep beside the weights: arguments, paths, devices, NumPy's numbers and arrays.
var recordClasses = []string{
	"argparse.Namespace", "torch.device", "torch.serialization._get_layout", "collections.Counter",
	"numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
	"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
	"_codecs.encode", "builtins.set", "builtins.frozenset", "builtins.bytearray", "builtins.complex", "__builtin__.set", "__builtin__.bytearray",
	"pathlib.Path", "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath", "pathlib.PureWindowsPath",
}

// findGlobal returns what a pickle names, or an error if weights do not need it.
func findGlobal(module, name string) (*global, error) {
	if g := globals[module+"."+name]; g != nil {
		return g, nil
	}
	hint := ""
	if !strings.HasPrefix(module, "torch") {
		hint = "; save the model's state_dict, not the model"
	}
	return nil, fmt.Errorf("it names %.200q, which no file of weights needs and nothing here runs%s", module+"."+name, hint)
}

// orderedDict is collections.OrderedDict([pairs]).
func orderedDict(args tuple) (any, error) {
	d := new(dict)
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := sequence(args[0])
	if !ok || len(args) > 1 {
		return nil, errors.New("collections.OrderedDict of something other than pairs")
	}
	for _, p := range pairs {
		kv, ok := sequence(p)
		if !ok || len(kv) != 2 {
			return nil, errors.New("collections.OrderedDict of something other than pairs")
		}
		d.pairs = append(d.pairs, pair{kv[0], kv[1]})
	}
	return d, nil
}

// torchSize is torch.Size(sequence).
func torchSize(args tuple) (any, error) {
	if len(args) == 1 {
		if items, ok := sequence(args[0]); ok {
			return tuple(items), nil
		}
	}
	return nil, errors.New("torch.Size of something other than a sequence")
}

// sequence returns the items of a tuple or list.
func sequence(v any) ([]any, bool) {
	switch v := v.(type) {
	case tuple:
		return v, true
	case *list:
		return v.items, true
	}
	return nil, false
}
