package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
)

// isIndex reports whether a file begins with a brace that is not the length of a safetensors
// header.
func isIndex(head []byte) bool {
	return head[0] == '{' && (len(head) < 8 || binary.LittleEndian.Uint64(head) > maxHeader)
}

// maxShards bounds the files that an index names, all of which are open at once.
const maxShards = 1000

// openShards opens all the files that an index, {"weight_map": {tensor: file}}, names; they lie
// next to it and are of any format. The tensors of all of them are one set.
func (f *File) openShards(r io.ReaderAt, size int64) (*set, error) {
	weightMap, err := readIndex(io.NewSectionReader(r, 0, size), size)
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	shards := slices.Compact(slices.Sorted(maps.Values(weightMap)))
	if len(shards) > maxShards {
		return nil, fmt.Errorf("index: %d shards, want at most %d", len(shards), maxShards)
	}
	all := newSet(nil)
	for _, name := range shards {
		if name != filepath.Base(name) {
			return nil, fmt.Errorf("index: file %q is not in the folder of the index", name)
		}
		if err := f.openShard(all, filepath.Join(filepath.Dir(f.Path), name)); err != nil {
			return nil, fmt.Errorf("shard %s: %w", Clean(name), err)
		}
	}
	for _, tensor := range slices.Sorted(maps.Keys(weightMap)) {
		if all.tensors[tensor] == nil {
			return nil, fmt.Errorf("index: tensor %s is in none of the %d shards", Clean(tensor), len(shards))
		}
	}
	f.Note = fmt.Sprintf("%d shards", len(shards))
	return all, nil
}

// openShard adds the tensors of the file at path to all. A shard of torch.save is a dict of
// tensors.
func (f *File) openShard(all *set, path string) error {
	file, size, err := f.openFile(path)
	if err != nil {
		return err
	}
	sets, err := f.parse(file, size)
	if err != nil {
		return err
	}
	if len(sets) == 0 || len(sets[0].path) > 0 {
		return errors.New("want a dict of tensors")
	}
	for name, t := range sets[0].tensors {
		if all.tensors[name] != nil {
			return fmt.Errorf("tensor %s is there twice", name)
		}
		all.add(t)
	}
	maps.Copy(all.foreign, sets[0].foreign)
	f.lists, f.root = nil, nil
	return nil
}

// readIndex reads the weight_map of an index.
func readIndex(r io.Reader, size int64) (map[string]string, error) {
	if size > MaxText {
		return nil, fmt.Errorf("%d bytes, want at most %d", size, MaxText)
	}
	json := newObjectReader(r)
	weightMap := map[string]string{}
	err := json.whole(func(field string) error {
		if field != "weight_map" {
			return json.Decode(new(skipped))
		}
		return json.object(func(tensor string) error {
			if weightMap[tensor] != "" {
				return fmt.Errorf("tensor %s is there twice", Clean(tensor))
			}
			if len(weightMap) == maxTensors {
				return fmt.Errorf("more than %d tensors", maxTensors)
			}
			shard, err := json.text()
			weightMap[tensor] = shard
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if len(weightMap) == 0 {
		return nil, errors.New("a JSON file without weight_map: not the index of a sharded checkpoint")
	}
	return weightMap, nil
}
