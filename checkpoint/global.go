package checkpoint

import "errors"

// global is a class or a function that a pickle names. Calling one runs code of this package alone,
// and makes a value.
type global struct {
	name  string // module.name
	dtype DType  // of a class of storages, or of a torch.dtype
	call  func(u *unpickler, args tuple) (any, error)
}

// globals is what a pickle may name that means something here.
var globals = makeGlobals()

func makeGlobals() map[string]*global {
	all := map[string]*global{}
	add := func(dtype DType, call func(*unpickler, tuple) (any, error), names ...string) {
		for _, name := range names {
			all[name] = &global{name, dtype, call}
		}
	}
	add("", orderedDict, "collections.OrderedDict")
	add("", defaultDict, "collections.defaultdict")
	add("", rebuildTensor, "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
	add("", rebuildTensorV3, "torch._utils._rebuild_tensor_v3")
	add("", firstTensor, "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
	add("", rebuildFromType, "torch._tensor._rebuild_from_type_v2")
	add("", torchSize, "torch.Size")
	for _, module := range []string{"torch.", "torch.cuda."} {
		for class, dtype := range storageClasses {
			add(dtype, nil, module+class)
		}
	}
	add(bytesOf, nil, "torch.storage.UntypedStorage", "torch.storage._UntypedStorage", "torch.UntypedStorage")
	for name, dtype := range torchTypes {
		add(dtype, nil, "torch."+name)
	}
	return all
}

// storageClasses are torch's classes of storages by the type of their elements.
var storageClasses = map[string]DType{
	"DoubleStorage": F64, "FloatStorage": F32, "HalfStorage": F16, "BFloat16Storage": BF16,
	"LongStorage": I64, "IntStorage": I32, "ShortStorage": I16, "CharStorage": I8,
	"ByteStorage": U8, "BoolStorage": Bool,
}

// bytesOf is the type of a storage's elements where only the tensors in it say what they are.
const bytesOf DType = "bytes"

// torchTypes are the values of torch.dtype. Those that safetensors alone knows how to name can be
// listed but not read.
var torchTypes = map[string]DType{
	"float64": F64, "float32": F32, "float16": F16, "bfloat16": BF16,
	"int64": I64, "int32": I32, "int16": I16, "int8": I8, "uint8": U8, "bool": Bool,
	"uint16": "U16", "uint32": "U32", "uint64": "U64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
	"complex64": "C64", "complex128": "C128",
}

// orderedDict is collections.OrderedDict([pairs]).
func orderedDict(u *unpickler, args tuple) (any, error) {
	d := new(dict)
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := sequence(args[0])
	if !ok || len(args) > 1 {
		return nil, errors.New("collections.OrderedDict of something other than pairs")
	}
	if err := u.spend(pairCost * int64(len(pairs))); err != nil {
		return nil, err
	}
	d.pairs = make([]pair, 0, len(pairs))
	for _, p := range pairs {
		kv, ok := sequence(p)
		if !ok || len(kv) != 2 {
			return nil, errors.New("collections.OrderedDict of something other than pairs")
		}
		d.pairs = append(d.pairs, pair{kv[0], kv[1]})
	}
	return d, nil
}

// defaultDict is collections.defaultdict(function), whose items are set afterwards.
func defaultDict(*unpickler, tuple) (any, error) { return new(dict), nil }

// torchSize is torch.Size(sequence).
func torchSize(_ *unpickler, args tuple) (any, error) {
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
