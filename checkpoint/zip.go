package checkpoint

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
)

// isZip recognises a zip archive, and not a safetensors file with a header of 67,324,752 bytes.
func isZip(head []byte) bool {
	return bytes.HasPrefix(head, []byte("PK\x03\x04")) && (len(head) < 9 || head[8] != '{')
}

// Files of torch.save are not compressed, but someone may have packed one again. Zeros shrink a thousandfold, weights hardly at all; an
// archive that promises more than maxInflation times its size is refused, but small ones may promise smallArchive.
const (
	maxInflation = 16
	smallArchive = 1 << 20
)

// openZip opens what torch.save writes since version 1.6: a zip archive with the pickle data.pkl and each storage as a file data/KEY.
func (f *File) openZip(r io.ReaderAt, size int64, key string) error {
	f.Format = "PyTorch zip"
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return err
	}
	z := archived{r, size, make(map[string]*zip.File, len(archive.File))}
	folder := ""
	left := uint64(size)*maxInflation + smallArchive
	for _, e := range archive.File {
		if z.entries[e.Name] != nil {
			return fmt.Errorf("the archive has %q twice", e.Name)
		}
		if e.UncompressedSize64 > left {
			return fmt.Errorf("the archive's files, %q among them, are far larger than itself", e.Name)
		}
		left -= e.UncompressedSize64
		z.entries[e.Name] = e
		if dir, base := path.Split(e.Name); base == "data.pkl" && (folder == "" || len(dir) < len(folder)) {
			folder = dir
		}
	}
	if order, err := z.bytes(folder + "byteorder"); err == nil && string(order) != "little" {
		return fmt.Errorf("byte order %.10q, want little", order)
	}
	if z.entries[folder+"constants.pkl"] != nil {
		return errors.New("a TorchScript program, not weights: save the model's state_dict")
	}
	pickle, err := z.bytes(folder + "data.pkl")
	if err != nil {
		return fmt.Errorf("not a file of torch.save, or a damaged one: %w", err)
	}
	root, err := newUnpickler(bytes.NewReader(pickle), int64(len(pickle))).load()
	if err != nil {
		return err
	}
	return f.choose(root, key, size, func(s *storageRef) (placed, error) { return z.place(folder + "data/" + s.key) })
}

// archived is the files of an archive.
type archived struct {
	r       io.ReaderAt
	size    int64
	entries map[string]*zip.File
}

// bytes reads a whole file of the archive, which may not be larger than a pickle.
func (z *archived) bytes(name string) ([]byte, error) {
	e := z.entries[name]
	if e == nil {
		return nil, fmt.Errorf("the archive has no %q", name)
	}
	if e.UncompressedSize64 > maxPickle {
		return nil, fmt.Errorf("%q has %d bytes, want at most %d", name, e.UncompressedSize64, maxPickle)
	}
	r, err := e.Open()
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return b.Bytes(), nil
}

// place finds a file of the archive.
func (z *archived) place(name string) (placed, error) {
	e := z.entries[name]
	if e == nil {
		return placed{}, fmt.Errorf("the archive has no %q", name)
	}
	s := zipped{entry: e}
	if e.Method == zip.Store {
		at, err := e.DataOffset()
		if err != nil {
			return placed{}, fmt.Errorf("%q: %w", name, err)
		}
		if e.UncompressedSize64 != e.CompressedSize64 || at < 0 || int64(e.UncompressedSize64) > z.size-at {
			return placed{}, fmt.Errorf("%q of %d bytes is cut off", name, e.UncompressedSize64)
		}
		s.plain = &section{z.r, at}
	}
	return placed{s, int64(e.UncompressedSize64)}, nil
}

// zipped is a storage in a zip archive.
type zipped struct {
	entry *zip.File
	plain *section // nil if it is compressed
}

// open reads through package zip, which checks the sum, what is compressed or wanted whole; else from the file itself.
func (z zipped) open(offset, length int64) (io.ReadCloser, error) {
	whole := offset == 0 && length == int64(z.entry.UncompressedSize64)
	if z.plain != nil && !whole {
		return z.plain.open(offset, length)
	}
	r, err := z.entry.Open()
	if err != nil || whole {
		return r, err
	}
	if _, err := io.CopyN(io.Discard, r, offset); err != nil {
		r.Close()
		return nil, cutOff(err)
	}
	return limited{io.LimitReader(r, length), r}, nil
}

// limited is a part of what a reader has left.
type limited struct {
	io.Reader
	io.Closer
}
