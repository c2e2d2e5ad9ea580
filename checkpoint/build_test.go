package checkpoint

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// ref is a storage that a made-up pickle refers to.
const ref = "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"

// rebuild is a pickle's call of torch._utils._rebuild_tensor_v2 of storage ref, of 4 numbers, with
// these sizes and strides.
func rebuild(shape, strides []byte) string {
	ints := func(list []byte) string {
		s := "("
		for _, n := range list {
			s += "K" + string(rune(n))
		}
		return s + "t"
	}
	return "ctorch._utils\n_rebuild_tensor_v2\n(" + ref + "K\x00" + ints(shape) + ints(strides) + "\x89NtR"
}

// element is rebuild of a row of elements of the storage from the first on.
func element(first, count byte) string {
	return strings.Replace(rebuild([]byte{count}, []byte{1}), "tQK\x00", "tQK"+string(rune(first)), 1)
}

// text is a string in a pickle.
func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// entry is a key and a value in a pickle's dict.
func entry(name, value string) string { return text(name) + value }

// dictOf is a dict in a pickle.
func dictOf(entries ...string) string { return "}(" + strings.Join(entries, "") + "u" }

// archive is a file of torch.save with this pickle and storage 0 of 4 numbers, 0 to 3; names and
// contents of other members follow.
func archive(t testing.TB, method uint16, pickle string, others ...string) []byte {
	t.Helper()
	var storage []byte
	for i := range 4 {
		storage = F32.put(storage, float32(i))
	}
	members := append([]string{"archive/data.pkl", "\x80\x02" + pickle + ".", "archive/data/0", string(storage)}, others...)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		w, err := z.CreateHeader(&zip.FileHeader{Name: members[i], Method: method})
		if err == nil {
			_, err = w.Write([]byte(members[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// load runs a pickle of a file of its own size.
func load(pickle string) (any, error) {
	size := int64(len(pickle))
	return newUnpickler(context.Background(), strings.NewReader(pickle), size, allowance(size)).load()
}

// openBytes opens a file that is only in memory.
func openBytes(content []byte, o OpenOptions) (*File, error) {
	f := &File{Path: "test", ctx: context.Background(), size: int64(len(content))}
	if err := f.open(bytes.NewReader(content), f.size, o); err != nil {
		return nil, fmt.Errorf("checkpoint test: %w", err)
	}
	return f, nil
}
