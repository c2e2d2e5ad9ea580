package checkpoint

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
)

// isZip recognises a zip archive, and not a safetensors file with a header of 67,324,752 bytes.
func isZip(head []byte) bool {
	return bytes.HasPrefix(head, []byte("PK\x03\x04")) && (len(head) < 9 || head[8] != '{')
}

// openZip opens what torch.save writes since version 1.6: a zip archive with the pickle data.pkl
// and each storage as a file data/KEY.
func (f *File) openZip(r io.ReaderAt, size int64) ([]*set, error) {
	f.Format = "PyTorch zip"
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, err
	}
	z := archived{r: r, size: size, members: make(map[string]*member, len(archive.File))}
	folder := ""
	left := uint64(inflated(size))
	for _, e := range archive.File {
		if z.members[e.Name] != nil {
			return nil, fmt.Errorf("the archive has %s twice", Clean(e.Name))
		}
		if e.UncompressedSize64 > left {
			return nil, fmt.Errorf("the archive's files, %s among them, are far larger than itself", Clean(e.Name))
		}
		left -= e.UncompressedSize64
		z.members[e.Name] = &member{entry: e}
		if dir, base := path.Split(e.Name); base == "data.pkl" && (folder == "" || len(dir) < len(folder)) {
			folder = dir
		}
	}
	if order := z.members[folder+"byteorder"]; order != nil {
		if text, err := order.text(); err != nil || text != "little" {
			return nil, fmt.Errorf("byte order %.10q, want little", text)
		}
	}
	if z.members[folder+"constants.pkl"] != nil {
		return nil, errors.New("a TorchScript program, not weights: save the model's state_dict")
	}
	if m := z.members[folder+metadataFile]; m != nil {
		if err := f.readMetadata(m); err != nil {
			return nil, err
		}
	}
	root, err := z.unpickle(f.ctx, folder+"data.pkl")
	if err != nil {
		return nil, err
	}
	return f.setsIn(root, func(s *storageRef) (placed, error) { return z.place(folder + "data/" + s.key) })
}

// readMetadata reads what WritePyTorch keeps of a file's metadata.
func (f *File) readMetadata(m *member) error {
	const maxMetadata = 1 << 20
	if n := m.entry.UncompressedSize64; n > maxMetadata {
		return fmt.Errorf("%s has %d bytes, want at most %d", metadataFile, n, maxMetadata)
	}
	b, err := m.inflate()
	if err != nil {
		return fmt.Errorf("%s: %w", metadataFile, err)
	}
	var metadata map[string]string
	if json.Unmarshal(b, &metadata) == nil { // else it is another program's
		f.keepMetadata(metadata)
	}
	return nil
}

// archived is the files of an archive.
type archived struct {
	r       io.ReaderAt
	size    int64
	members map[string]*member
}

// unpickle runs the pickle of that name as it is inflated.
func (z *archived) unpickle(ctx context.Context, name string) (any, error) {
	m := z.members[name]
	if m == nil {
		return nil, fmt.Errorf("not a file of torch.save, or a damaged one: the archive has no %q", name)
	}
	size := m.entry.UncompressedSize64
	if size > maxPickle {
		return nil, fmt.Errorf("%q has %d bytes, want at most %d", name, size, maxPickle)
	}
	r, err := m.entry.Open()
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	defer r.Close()
	u := newUnpickler(ctx, r, int64(size), allowance(z.size))
	root, err := u.load()
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, u.r); err != nil { // the checksum is compared at the end
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return root, nil
}

// place finds a file of the archive.
func (z *archived) place(name string) (placed, error) {
	m := z.members[name]
	if m == nil {
		return placed{}, fmt.Errorf("the archive has no %s", Clean(name))
	}
	m.tensors++
	e := m.entry
	if e.Method == zip.Store && m.plain == nil {
		at, err := e.DataOffset()
		if err != nil {
			return placed{}, fmt.Errorf("%s: %w", Clean(name), err)
		}
		if e.UncompressedSize64 != e.CompressedSize64 || at < 0 || int64(e.UncompressedSize64) > z.size-at {
			return placed{}, fmt.Errorf("%s of %d bytes is cut off", Clean(name), e.UncompressedSize64)
		}
		m.plain = &section{z.r, at}
	}
	return placed{m, int64(e.UncompressedSize64)}, nil
}

// member is a file of an archive, such as a storage.
type member struct {
	entry   *zip.File
	plain   *section // nil if it is compressed
	tensors int      // that are in it

	once  sync.Once
	bytes []byte // its content, inflated once for all tensors, if they are several
	err   error
}

// open reads through package zip, which checks the sum, what is compressed or wanted whole; else
// from the file itself.
func (m *member) open(offset, length int64) (io.ReadCloser, error) {
	whole := offset == 0 && length == int64(m.entry.UncompressedSize64)
	switch {
	case m.plain != nil && !whole:
		return m.plain.open(offset, length)
	case m.plain != nil, m.tensors < 2 && whole:
		return m.entry.Open()
	case m.tensors > 1:
		m.once.Do(func() { m.bytes, m.err = m.inflate() })
		if m.err != nil {
			return nil, m.err
		}
		return io.NopCloser(bytes.NewReader(m.bytes[offset : offset+length])), nil
	}
	r, err := m.entry.Open()
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, r, offset); err != nil {
		r.Close()
		return nil, cutOff(err)
	}
	return limited{io.LimitReader(r, length), r}, nil
}

// inflate returns the whole content. Its size is bounded: see openZip.
func (m *member) inflate() ([]byte, error) {
	r, err := m.entry.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, m.entry.UncompressedSize64)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, cutOff(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		return nil, err
	}
	return b, nil
}

// text returns the beginning of the content, for a member that is a word.
func (m *member) text() (string, error) {
	r, err := m.entry.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, 64))
	return string(b), err
}

// limited is a part of what a reader has left.
type limited struct {
	io.Reader
	io.Closer
}
