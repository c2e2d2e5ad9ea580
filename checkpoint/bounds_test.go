package checkpoint

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokencache/tokencache/internal/bounded"
)

// manyEmpty is a safetensors header of n tensors without elements.
func manyEmpty(n int) []byte {
	var h strings.Builder
	for i := range n {
		fmt.Fprintf(&h, `%c"%07x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`, "{,"[min(i, 1)], i)
	}
	return header(h.String()+"}", 0)
}

// TestCostsAreBounded opens files that make much of little, and some that may be large.
func TestCostsAreBounded(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile(wild + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	nones := "](" + strings.Repeat("N", 40<<20) + "e"
	long := strings.Repeat("x", 10<<20)
	pad := string(incompressible(6 << 20)) // makes a file large enough for what it inflates to
	search := "}q\x00(" + strings.Repeat("NN", 200_000) + "u}(" + strings.Repeat("Nh\x00", 150_000) + "u"
	const many = maxTensors / 8
	one := rebuild([]byte{4}, []byte{1})
	var names, dotless strings.Builder
	names.WriteString(entry("x_embedder.proj.weight", one+"q\x00"))
	dotless.WriteString(`{"net.x_embedder.proj.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`)
	for i := range many {
		name := fmt.Sprintf("a.%05x", i)
		names.WriteString(entry(name, "h\x00"))
		for _, name := range []string{"net.b._orig_mod." + name, "net_ema.b" + strings.ReplaceAll(name, ".", "")} {
			dotless.WriteString(`,"` + name + `":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`)
		}
	}
	dotless.WriteString(`,"net_ema.x_embedderprojweight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`)
	list := "(" + strings.Repeat("h\x00", many+1) + "t"
	lists := dictOf(entry("model", dictOf(names.String())), entry("ema", list), entry("ema1", list), entry("ema2", list))
	for _, c := range []struct {
		name string
		file []byte
		want string // what the error says, or "" for none
	}{
		{"OrderedDict of a long list, again and again", read("pickle-ordered.pt"), "far more values"},
		{"NEWOBJ_EX with many arguments, again and again", read("pickle-newobj.pt"), "want a dict"},
		{"one large dict, searched again and again", read("pickle-search.pt"), "far more values"},
		{"the same in a larger file", archive(t, zip.Deflate, search, "pad", pad), "no tensors"},
		{"a long list of nothing", archive(t, zip.Deflate, nones, "pad", pad), "far more values"},
		{"many dicts", archive(t, zip.Deflate, "]("+strings.Repeat("}", 900_000)+"e"), "far more values"},
		{"many memos", archive(t, zip.Deflate, "N"+strings.Repeat("\x94", 1_000_000)), "far more values"},
		{"many strings", archive(t, zip.Deflate, "("+strings.Repeat("U\x00", 500_000)), "it holds a string"},
		{"many entries", archive(t, zip.Deflate, dictOf(strings.Repeat("N]", 200_000)), "pad", pad), "no tensors"},
		{
			"nested dicts",
			archive(t, zip.Deflate, strings.Repeat("}N", 100_000)+"}"+strings.Repeat("s", 100_000), "pad", pad),
			"no tensors",
		},
		{
			"an archive that inflates a thousandfold",
			archive(t, zip.Deflate, "}", "zeros", string(make([]byte, 64<<20))),
			"far larger than itself",
		},
		{"a header of many tensors", manyEmpty(maxTensors + 1), "more than 65536 tensors"},
		{"a header of as many as may be", manyEmpty(maxTensors), ""},
		{
			"a long name",
			header(`{"`+long+`":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, 0),
			"a tensor's name of 10485760 bytes",
		},
		{"long metadata", header(`{"__metadata__":{"a":"`+long+`"}}`, 0), ""},
		{
			"a long shape",
			header(`{"a":{"dtype":"F32","shape":[`+strings.Repeat("1,", 1<<20)+`1],"data_offsets":[0,4]}}`, 4),
			"at most 64",
		},
		{"many names without dots and of wrappers", header(dotless.String(), 0), ""},
		{"averages of many tensors", archive(t, zip.Deflate, lists, "pad", pad[:1<<20]), "several sets of weights, under model, ema, "},
		{"a deep value", header(`{"a":{"x":`+strings.Repeat("[", 1<<20)+`}}`, 4), "depth"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bounded.Run(t, len(c.file), func() {
				_, err := openBytes(c.file, OpenOptions{Known: isDiT})
				if c.want == "" && err != nil {
					t.Error(err)
				}
				if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("error %.200v, want one with %q", err, c.want)
				}
				if err != nil && len(err.Error()) > 4096 {
					t.Errorf("an error of %d bytes", len(err.Error()))
				}
			})
		})
	}
}

// incompressible is n bytes that do not shrink.
func incompressible(n int) []byte {
	b := make([]byte, 0, n)
	for x := uint64(1); len(b) < n; x = x*6364136223846793005 + 1442695040888963407 {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return b
}

// TestRepeatedElements checks that views which repeat what is stored are no weights, and that
// everything else in their file can be read.
func TestRepeatedElements(t *testing.T) {
	for _, c := range []struct {
		name           string
		shape, strides []byte
		repeats        bool
	}{
		{"a vector", []byte{4}, []byte{1}, false},
		{"a matrix", []byte{2, 2}, []byte{2, 1}, false},
		{"transposed", []byte{2, 2}, []byte{1, 2}, false},
		{"every second", []byte{2}, []byte{2}, false},
		{"stride 0", []byte{4}, []byte{0}, true},
		{"stride 0 of one element", []byte{1, 4}, []byte{0, 1}, false},
		{"stride 0 in one dimension", []byte{2, 2}, []byte{0, 2}, true},
		{"overlapping rows", []byte{3, 2}, []byte{1, 1}, true},
		{"nothing", []byte{0, 4}, []byte{0, 0}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			pickle := dictOf(entry("view", rebuild(c.shape, c.strides)), entry("w", rebuild([]byte{4}, []byte{1})))
			f, err := openBytes(archive(t, zip.Store, pickle), OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			values(t, f, "w")
			_, err = f.Float32("view")
			if repeats := err != nil && strings.Contains(err.Error(), "repeats elements"); repeats != c.repeats {
				t.Errorf("error %v, want one: %t", err, c.repeats)
			}
		})
	}
}

// TestSharedStorage checks that tensors may share a storage, but not so that they are far larger
// than their file.
func TestSharedStorage(t *testing.T) {
	const n = 1 << 18
	storage := strings.Repeat("\x00", 4*n)
	big := "ctorch._utils\n_rebuild_tensor_v2\n(" + strings.Replace(strings.Replace(ref,
		"X\x01\x00\x00\x000", "U\x01b", 1), "K\x04", "J\x00\x00\x04\x00", 1) +
		"K\x00(J\x00\x00\x04\x00t(K\x01t\x89NtR"
	for _, tensors := range []int{1, 8, 10} {
		var entries []string
		for i := range tensors {
			entries = append(entries, entry(fmt.Sprint("w", i), big))
		}
		_, err := openBytes(archive(t, zip.Store, dictOf(entries...), "archive/data/b", storage), OpenOptions{})
		if fails := err != nil && strings.Contains(err.Error(), "share what is stored"); fails != (tensors == 10) {
			t.Errorf("%d tensors in a storage: %v", tensors, err)
		}
	}
}

// TestMembersAreInflatedOnce checks that many tensors in one compressed storage cost no more than
// that storage.
func TestMembersAreInflatedOnce(t *testing.T) {
	const n, tensors = 1 << 18, 1000
	storage := strings.Replace(strings.Replace(ref, "X\x01\x00\x00\x000", "U\x01b", 1), "K\x04", "J\x00\x00\x04\x00", 1)
	var entries []string
	for i := range tensors {
		at := string(binary.LittleEndian.AppendUint32([]byte("J"), uint32(i)))
		entries = append(entries, entry(fmt.Sprint("w", i), "ctorch._utils\n_rebuild_tensor_v2\n("+storage+at+"(K\x04t(K\x01t\x89NtR"))
	}
	file := archive(t, zip.Deflate, dictOf(entries...), "archive/data/b", string(incompressible(4*n)))
	bounded.Run(t, len(file), func() {
		f, err := openBytes(file, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range f.Names() {
			if _, err := f.Float32(name); err != nil {
				t.Fatal(err)
			}
		}
	})
	damaged := bytes.Clone(file)
	damaged[len(file)/2] ^= 1
	f, err := openBytes(damaged, OpenOptions{})
	if err == nil {
		_, err = f.Float32("w0")
	}
	if err == nil {
		t.Error("a damaged storage is read")
	}
}

// TestCancelledOpen checks that opening and reading end when their context does, however long they
// would take.
func TestCancelledOpen(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"header.safetensors": header(`{"__metadata__":{"a":"`+strings.Repeat("x", 80<<20)+`"}}`, 0),
		"pickle.pt":          archive(t, zip.Store, strings.Repeat("NN\x860", 8<<20)+"}"),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, content, 0o644); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			defer cancel()
			_, err := OpenContext(ctx, path, OpenOptions{})
			late := time.Now()
			if deadline, _ := ctx.Deadline(); !errors.Is(err, context.DeadlineExceeded) || late.Sub(deadline) > 100*time.Millisecond {
				t.Errorf("error %v, %v after the deadline", err, late.Sub(deadline))
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	f, err := OpenContext(ctx, wild+"plain.safetensors", OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cancel()
	if _, err := f.Float32("pos_embed"); !errors.Is(err, context.Canceled) {
		t.Errorf("reading after the end: %v", err)
	}
}
