package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
)

// isIndex reports whether a file begins with a brace that is not the length of a safetensors header.
func isIndex(head []byte) bool {
	return head[0] == '{' && (len(head) < 8 || binary.LittleEndian.Uint64(head) > maxHeader)
}

// maxIndex bounds the index of a sharded checkpoint.
const maxIndex = 64 << 20

// openShards opens all the files that an index, {"weight_map": {tensor: file}}, names; they lie beside it.
func (f *File) openShards(r io.ReaderAt, size int64) error {
	if size > maxIndex {
		return fmt.Errorf("index of %d bytes, want at most %d", size, maxIndex)
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.NewDecoder(io.NewSectionReader(r, 0, size)).Decode(&index); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if len(index.WeightMap) == 0 {
		return errors.New("a JSON file without weight_map: not the index of a sharded checkpoint")
	}
	shards := slices.Compact(slices.Sorted(maps.Values(index.WeightMap)))
	for _, name := range shards {
		if name != filepath.Base(name) {
			return fmt.Errorf("index: file %q is not beside the index", name)
		}
		file, size, err := f.openFile(filepath.Join(filepath.Dir(f.Path), name))
		if err == nil {
			err = f.openSafetensors(file, size)
		}
		if err != nil {
			return fmt.Errorf("shard %s: %w", name, err)
		}
	}
	for _, tensor := range slices.Sorted(maps.Keys(index.WeightMap)) {
		if f.tensors[tensor] == nil {
			return fmt.Errorf("index: tensor %s is in none of the %d shards", tensor, len(shards))
		}
	}
	f.Note = fmt.Sprintf("%d shards", len(shards))
	return nil
}
