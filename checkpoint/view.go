package checkpoint

import (
	"errors"
	"fmt"
	"math"
)

// storageRef is a storage as a pickle refers to it; where its bytes are is known to the file around
// the pickle.
type storageRef struct {
	key   string
	dtype DType // of its elements
	count int64 // of its elements
	// first is the element of the storage named key at which this one begins: not 0 only for the
	// views that files of PyTorch before 0.4 have.
	first int64
}

// view is a tensor as a pickle describes it: elements of a storage. Nothing about it is checked but
// that it has no negative sizes.
type view struct {
	storage *storageRef
	dtype   DType
	offset  int64 // of the first element
	shape   []int
	strides []int64 // in elements
}

// maxDims bounds the dimensions of a tensor, as PyTorch does.
const maxDims = 64

// inert returns a record in place of a tensor that depends on an object of a class that means
// nothing here.
func inert(function string, args tuple) *record { return &record{class: function, args: args} }

// rebuildTensor is torch._utils._rebuild_tensor_v2(storage, storage_offset, size, stride,
// requires_grad, backward_hooks).
func rebuildTensor(u *unpickler, args tuple) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("a tensor of %d arguments, want at least 4", len(args))
	}
	if r, ok := args[0].(*record); ok {
		return inert("tensor in "+kind(r), args), nil
	}
	storage, ok := args[0].(*storageRef)
	if !ok {
		return nil, fmt.Errorf("a tensor in %s, want a storage", kind(args[0]))
	}
	offset, ok := args[1].(int64)
	if !ok || offset < 0 {
		return nil, fmt.Errorf("a tensor that begins at element %s of its storage", show(args[1]))
	}
	sizes, err := wholeNumbers(args[2])
	if err != nil {
		return nil, fmt.Errorf("a tensor's size: %w", err)
	}
	strides, err := wholeNumbers(args[3])
	if err != nil {
		return nil, fmt.Errorf("a tensor's strides: %w", err)
	}
	if len(strides) != len(sizes) {
		return nil, fmt.Errorf("a tensor of %d sizes and %d strides", len(sizes), len(strides))
	}
	if err := u.spend(int64(len(sizes)) * itemCost); err != nil {
		return nil, err
	}
	shape := make([]int, len(sizes))
	for i, n := range sizes {
		if n > math.MaxInt {
			return nil, fmt.Errorf("a tensor of size %v", sizes)
		}
		shape[i] = int(n)
	}
	return &view{storage, storage.dtype, offset, shape, strides}, nil
}

// rebuildTensorV3 is torch._utils._rebuild_tensor_v3(storage, storage_offset, size, stride,
// requires_grad, backward_hooks, dtype, ...).
func rebuildTensorV3(u *unpickler, args tuple) (any, error) {
	if len(args) < 7 {
		return nil, fmt.Errorf("a tensor of %d arguments, want at least 7", len(args))
	}
	dtype, ok := args[6].(*global)
	if !ok || dtype.dtype == "" {
		return inert("tensor of type "+kind(args[6]), args), nil
	}
	v, err := rebuildTensor(u, args)
	if v, ok := v.(*view); ok {
		v.dtype = dtype.dtype
	}
	return v, err
}

// rebuildFromType is torch._tensor._rebuild_from_type_v2(function, class, arguments, state), of a
// tensor that has attributes.
func rebuildFromType(u *unpickler, args tuple) (any, error) {
	if len(args) != 4 {
		return nil, fmt.Errorf("a tensor with attributes of %d arguments, want 4", len(args))
	}
	function, ok := args[0].(*global)
	if !ok || function.call == nil || function.name == "torch._tensor._rebuild_from_type_v2" {
		return inert("tensor rebuilt by "+kind(args[0]), args), nil
	}
	inner, ok := args[2].(tuple)
	if !ok {
		return nil, fmt.Errorf("a tensor rebuilt of %s", kind(args[2]))
	}
	v, err := function.call(u, inner)
	if err != nil {
		return nil, err
	}
	return firstTensor(u, tuple{v})
}

// firstTensor is torch._utils._rebuild_parameter(data, ...): a parameter is its tensor.
func firstTensor(_ *unpickler, args tuple) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("a parameter of nothing")
	}
	switch args[0].(type) {
	case *view, *record:
		return args[0], nil
	}
	return nil, fmt.Errorf("a parameter of %s, want a tensor", kind(args[0]))
}

// wholeNumbers returns the items of a short tuple or list of numbers that are not negative.
func wholeNumbers(v any) ([]int64, error) {
	items, ok := sequence(v)
	if !ok {
		return nil, fmt.Errorf("%s, want a tuple", kind(v))
	}
	if len(items) > maxDims {
		return nil, fmt.Errorf("%d dimensions, want at most %d", len(items), maxDims)
	}
	numbers := make([]int64, len(items))
	for i, item := range items {
		n, ok := item.(int64)
		if !ok || n < 0 {
			return nil, fmt.Errorf("%s, want whole numbers", show(v))
		}
		numbers[i] = n
	}
	return numbers, nil
}

// persistent returns what a persistent id refers to, a storage: ("storage", class, key, device,
// elements[, (root's key, first element, elements)]). An id of something else, or of a storage of
// an unknown class, makes a record.
func persistent(id any) (any, error) {
	t, ok := id.(tuple)
	if !ok || len(t) == 0 || t[0] != "storage" {
		return inert("reference to "+kind(id), nil), nil
	}
	if len(t) < 5 || len(t) > 6 {
		return nil, fmt.Errorf("a storage of %d arguments, want 5 or 6", len(t))
	}
	class, ok := t[1].(*global)
	if !ok || class.dtype == "" {
		return inert("storage of class "+kind(t[1]), nil), nil
	}
	key, isString := t[2].(string)
	count, isInt := t[4].(int64)
	if !isString || !isInt || count < 0 {
		return nil, fmt.Errorf("a storage with key %s of %s elements", show(t[2]), show(t[4]))
	}
	s := &storageRef{key: key, dtype: class.dtype, count: count}
	if s.dtype == bytesOf {
		s.dtype = U8
	}
	if len(t) == 5 || t[5] == nil {
		return s, nil
	}
	part, ok := t[5].(tuple)
	if !ok || len(part) != 3 {
		return nil, fmt.Errorf("a storage that is a part of %s", kind(t[5]))
	}
	first, isInt := part[1].(int64)
	length, isInt2 := part[2].(int64)
	if !isInt || !isInt2 || first < 0 || length < 0 || first > count || length > count-first {
		return nil, fmt.Errorf("a storage that is a part %s of one of %d elements", show(part), count)
	}
	s.first, s.count = first, length
	return s, nil
}

// placed is where a storage's bytes are.
type placed struct {
	data storage
	size int64 // in bytes
}

// place makes a tensor of a view, whose storage is s, after checking that all its elements lie in
// the storage. A view that repeats elements (a stride of 0, rows that overlap) is not stored
// weights.
func (v *view) place(s placed) (*stored, error) {
	t := &stored{Info: v.info(), data: s.data}
	size := int64(v.dtype.Size())
	n, err := elements(v.shape, math.MaxInt64)
	if size == 0 || n == 0 || err != nil {
		return t, err
	}
	unit := int64(v.storage.dtype.Size())
	if v.storage.first > s.size/unit || v.storage.count > s.size/unit-v.storage.first {
		return t, fmt.Errorf("storage %s has %d bytes, too few for its %d elements of %s",
			Clean(v.storage.key), s.size, v.storage.count, v.storage.dtype)
	}
	room := v.storage.count * unit / size // elements of the tensor's type
	if !v.within(room) {
		return t, fmt.Errorf("shape %v, strides %v and offset %d reach beyond the %d elements of storage %s",
			v.shape, v.strides, v.offset, room, Clean(v.storage.key))
	}
	if v.repeats(n) {
		return t, fmt.Errorf("shape %v with strides %v repeats elements of its storage: these are not stored weights",
			v.shape, v.strides)
	}
	t.offset = v.storage.first*unit + v.offset*size
	if !v.byRows() {
		t.strides = v.strides
	}
	return t, nil
}

func (v *view) info() Info { return Info{DType: v.dtype, Shape: v.shape} }

// repeats reports whether a view of n elements, which lies within its storage, has some of them
// twice.
func (v *view) repeats(n int64) bool {
	last := int64(0)
	for d, size := range v.shape {
		if size > 1 && v.strides[d] == 0 {
			return true
		}
		last += int64(size-1) * v.strides[d]
	}
	return n > last+1
}

// within reports whether all elements of a view that has some lie in a storage of room elements.
func (v *view) within(room int64) bool {
	if v.offset >= room {
		return false
	}
	left := room - 1 - v.offset // elements behind the first
	for d, n := range v.shape {
		if n == 1 || v.strides[d] == 0 {
			continue
		}
		if v.strides[d] > left/int64(n-1) {
			return false
		}
		left -= v.strides[d] * int64(n-1)
	}
	return true
}

// byRows reports whether the elements of a view lie one behind the other in the order of its
// indices.
func (v *view) byRows() bool {
	run := int64(1)
	for d := len(v.shape) - 1; d >= 0; d-- {
		if v.shape[d] != 1 && v.strides[d] != run {
			return false
		}
		run *= int64(v.shape[d])
	}
	return true
}
