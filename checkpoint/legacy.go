package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// legacyMagic is the number, little-endian, that a file of torch.save before version 1.6 begins
// with, as a pickle.
var legacyMagic = []byte{0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19}

func isLegacy(head []byte) bool { return head[0] == opProto && bytes.Contains(head, legacyMagic) }

// openLegacy opens what torch.save wrote before version 1.6: pickles of the magic number, the
// protocol's version, facts about the machine, the object, and a list of the storages' keys; then
// each storage in that order, its number of elements in 8 bytes before it.
func (f *File) openLegacy(r io.ReaderAt, size int64) ([]*set, error) {
	f.Format = "PyTorch legacy"
	u := newUnpickler(f.ctx, io.NewSectionReader(r, 0, size), size, allowance(size))
	var parts [5]any // magic number, version, machine, object, keys
	for i := range parts {
		var err error
		if parts[i], err = u.load(); err != nil {
			return nil, err
		}
	}
	if magic, ok := parts[0].(wide); !ok || !bytes.Equal(magic, legacyMagic) {
		return nil, errors.New("not a file of torch.save: it begins with another number")
	}
	if version, ok := parts[1].(int64); !ok || version != 1001 {
		return nil, fmt.Errorf("version %s, want 1001", show(parts[1]))
	}
	machine, ok := parts[2].(*dict)
	if !ok {
		return nil, fmt.Errorf("the machine's facts are %s, want a dict", kind(parts[2]))
	}
	if little, _ := machine.get("little_endian"); little != true {
		return nil, errors.New("byte order big, want little")
	}
	keys, ok := parts[4].(*list)
	if !ok {
		return nil, fmt.Errorf("the storages' keys are %s, want a list", kind(parts[4]))
	}
	storages, err := legacyStorages(r, u.read, size, keys.items, u.refs)
	if err != nil {
		return nil, err
	}
	return f.setsIn(parts[3], func(s *storageRef) (placed, error) {
		p, ok := storages[s.key]
		if !ok {
			return placed{}, fmt.Errorf("storage %s is missing", Clean(s.key))
		}
		return p, nil
	})
}

// legacyStorages finds the storages that lie from byte at on, in the order of keys.
func legacyStorages(r io.ReaderAt, at, size int64, keys []any, refs map[string]DType) (map[string]placed, error) {
	storages := make(map[string]placed, len(keys))
	for _, k := range keys {
		key, _ := k.(string)
		dtype, ok := refs[key]
		if _, twice := storages[key]; !ok || twice {
			return nil, fmt.Errorf("storage %s is in the list of keys but not in the pickle, or twice", show(k))
		}
		var count [8]byte
		if _, err := r.ReadAt(count[:], at); err != nil {
			return nil, fmt.Errorf("storage %.40q: %w", key, cutOff(err))
		}
		at += 8
		unit := int64(dtype.Size())
		n := binary.LittleEndian.Uint64(count[:])
		if n > uint64((size-at)/unit) {
			return nil, fmt.Errorf("storage %.40q of %d elements of %s: cut off", key, n, dtype)
		}
		storages[key] = placed{section{r, at}, int64(n) * unit}
		at += int64(n) * unit
	}
	if at != size {
		return nil, fmt.Errorf("%d bytes follow the last storage", size-at)
	}
	return storages, nil
}
