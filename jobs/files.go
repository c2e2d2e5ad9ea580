package jobs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tokencache/tokencache/internal/digest"
	"github.com/tokencache/tokencache/internal/filelock"
	"github.com/tokencache/tokencache/internal/regularfile"
)

// Input is a file or a folder that a job's arguments name, such as the weights of its model, and
// that is in the job's store for workers that do not have it.
type Input struct {
	Path  string      `json:"path"` // as the arguments name it
	Files []InputFile `json:"files"`
}

// InputFile is a file of an Input.
type InputFile struct {
	Name   string `json:"name"` // within a folder, with slashes; "" of an input that is a file
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// stored is the name of the file in a store.
func (f *InputFile) stored() string { return "file-" + f.SHA256[:32] + ".bin" }

// check reports an input of a foreign queue that cannot be kept in a folder of its own.
func (in *Input) check() error {
	if len(in.Files) == 0 || len(in.Files) > maxInputFiles {
		return fmt.Errorf("input %s: %d files, want 1 to %d", in.Path, len(in.Files), maxInputFiles)
	}
	for _, f := range in.Files {
		if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != sha256.Size || f.Size < 0 {
			return fmt.Errorf("input %s: file %q has no SHA-256 and size", in.Path, f.Name)
		}
		single := f.Name == "" && len(in.Files) == 1
		if !single && (!filepath.IsLocal(filepath.FromSlash(f.Name)) || strings.Contains(f.Name, `\`)) {
			return fmt.Errorf("input %s: file %q is not within it", in.Path, f.Name)
		}
	}
	return nil
}

// maxInputFiles bounds the files of a folder.
const maxInputFiles = 256

// describeInput describes the file or folder at path.
func describeInput(path string) (*Input, error) {
	in := &Input{Path: path}
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if len(in.Files) == maxInputFiles {
			return fmt.Errorf("folder %s: more than %d files", path, maxInputFiles)
		}
		sum, size, err := hashFile(name)
		if err != nil {
			return err
		}
		within := ""
		if name != path {
			if within, err = filepath.Rel(path, name); err != nil {
				return err
			}
		}
		in.Files = append(in.Files, InputFile{filepath.ToSlash(within), sum, size})
		return nil
	})
	if err == nil {
		err = in.check()
	}
	return in, err
}

// hashFile returns the SHA-256 of a file, and its size.
func hashFile(path string) (string, int64, error) {
	f, _, err := regularfile.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// Send puts the files and folders at the paths into a store, those that are not there yet, and
// describes them for a job's Inputs.
func (q *Queue) Send(ctx context.Context, store string, paths []string) ([]Input, error) {
	s, err := q.OpenStore(ctx, store)
	if err != nil {
		return nil, err
	}
	there, err := s.Names(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tokencache-send-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var list []Input
	for _, path := range paths {
		in, err := describeInput(path)
		if err != nil {
			return nil, err
		}
		for _, f := range in.Files {
			if there[f.stored()] {
				continue
			}
			from, err := filepath.Abs(filepath.Join(path, filepath.FromSlash(f.Name)))
			if err != nil {
				return nil, err
			}
			named := filepath.Join(dir, f.stored()) // by which the store names it
			if err := os.Symlink(from, named); err != nil {
				return nil, err
			}
			if err := errors.Join(s.Put(ctx, named), os.Remove(named)); err != nil {
				return nil, fmt.Errorf("file %s: %w", from, err)
			}
			there[f.stored()] = true
		}
		list = append(list, *in)
	}
	return list, nil
}

// Cache is a folder with inputs of jobs. Several workers may share it.
type Cache struct {
	Dir  string
	Size int64 // bytes that it may have; what was not used for longest goes first
}

// Get returns where the inputs of a job are that this machine does not have under their own names.
// It fetches those that the cache does not have, and checks them.
func (c *Cache) Get(ctx context.Context, q *Queue, j *Job) (map[string]string, error) {
	local := map[string]string{}
	for i := range j.Inputs {
		in := &j.Inputs[i]
		if err := in.check(); err != nil {
			return nil, err
		}
		if _, err := os.Stat(in.Path); err == nil {
			continue
		}
		dir, err := c.get(ctx, q, j.Store, in)
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", in.Path, err)
		}
		local[in.Path] = dir
		if in.Files[0].Name == "" {
			local[in.Path] = filepath.Join(dir, filepath.Base(in.Path))
		}
	}
	return local, nil
}

// get returns the folder of an input in the cache.
func (c *Cache) get(ctx context.Context, q *Queue, store string, in *Input) (string, error) {
	dir := filepath.Join(c.Dir, digest.Of(in.Files, filepath.Base(in.Path)))
	if err := os.MkdirAll(c.Dir, 0o777); err != nil {
		return "", err
	}
	if used(dir) {
		return dir, nil
	}
	lock, err := filelock.Acquire(dir + ".lock")
	if err != nil {
		return "", err // another worker fetches it: this one asks again
	}
	defer lock.Release()
	if used(dir) {
		return dir, nil
	}
	size := int64(0)
	for _, f := range in.Files {
		size += f.Size
	}
	if size > c.Size {
		return "", fmt.Errorf("%d bytes, and the cache may have %d", size, c.Size)
	}
	if err := c.shrink(c.Size - size); err != nil {
		return "", err
	}
	s, err := q.OpenStore(ctx, store)
	if err != nil {
		return "", err
	}
	part, err := os.MkdirTemp(c.Dir, "part-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part)
	for _, f := range in.Files {
		if err := fetchInput(ctx, s, &f, part, cmp.Or(f.Name, filepath.Base(in.Path))); err != nil {
			return "", err
		}
	}
	return dir, os.Rename(part, dir)
}

// used reports whether an input is in the cache, and that it is used now. It is there whole or not
// at all.
func used(dir string) bool {
	now := time.Now()
	return os.Chtimes(dir, now, now) == nil
}

// fetchInput brings a file from a store into the folder dir under a name, and checks it.
func fetchInput(ctx context.Context, s Store, f *InputFile, dir, name string) error {
	if err := s.Fetch(ctx, f.stored(), dir); err != nil {
		return err
	}
	got := filepath.Join(dir, f.stored())
	sum, _, err := hashFile(got)
	if err != nil {
		return err
	}
	if sum != f.SHA256 {
		return fmt.Errorf("file %s: its SHA-256 is %s, want %s: %w", name, sum, f.SHA256, ErrDamaged)
	}
	to := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	return os.Rename(got, to)
}

// shrink removes inputs, those that were not used for longest first, until the rest has so many
// bytes at most.
func (c *Cache) shrink(size int64) error {
	type kept struct {
		path string
		used time.Time
		size int64
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return err
	}
	var list []kept
	total := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || strings.HasPrefix(e.Name(), "part-") {
			continue
		}
		k := kept{path: filepath.Join(c.Dir, e.Name()), used: info.ModTime()}
		_ = filepath.WalkDir(k.path, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil
			}
			if info, err := d.Info(); err == nil {
				k.size += info.Size()
			}
			return nil
		})
		list, total = append(list, k), total+k.size
	}
	slices.SortFunc(list, func(a, b kept) int { return a.used.Compare(b.used) })
	for _, k := range list {
		if total <= size {
			break
		}
		lock, err := filelock.Acquire(k.path + ".lock")
		if err != nil {
			continue // it is being fetched
		}
		err = errors.Join(os.RemoveAll(k.path), lock.Release())
		if err != nil {
			return err
		}
		total -= k.size
	}
	return nil
}
