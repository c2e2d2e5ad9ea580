package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/regularfile"
)

// Store is where results go, the parts of a run or what tasks return. It alone says which are
// there.
type Store interface {
	// Names returns the names of the results that are there.
	Names(ctx context.Context) (map[string]bool, error)
	// Has reports whether a result is there, which costs as much however many there are.
	Has(ctx context.Context, name string) (bool, error)
	// Put brings the result's file at path there, whole or not at all.
	Put(ctx context.Context, path string) error
	// Fetch brings a result from there into the folder dir, whole or not at all.
	Fetch(ctx context.Context, name, dir string) error
	// Remove removes a result; one that is not there is no error.
	Remove(ctx context.Context, name string) error
}

// BrokerStore is the name of the store within the broker.
const BrokerStore = "broker"

// OpenStore opens the store of a name: BrokerStore, s3://BUCKET/PREFIX, or a folder that all
// workers see.
func (q *Queue) OpenStore(ctx context.Context, name string) (Store, error) {
	if strings.HasPrefix(name, s3Scheme) {
		return openS3(name)
	}
	if name != BrokerStore {
		return folderStore(name), os.MkdirAll(name, 0o777)
	}
	var bucket jetstream.ObjectStore
	err := q.persist(ctx, func(ctx context.Context) (err error) {
		bucket, err = q.stream.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket:   "tokencache-parts",
			Replicas: q.work.CachedInfo().Config.Replicas,
			Storage:  jetstream.FileStorage,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store in the broker: %w", err)
	}
	return &objectStore{bucket}, nil
}

// folderStore is a folder.
type folderStore string

func (s folderStore) Names(context.Context) (map[string]bool, error) {
	entries, err := os.ReadDir(string(s))
	names := map[string]bool{}
	for _, e := range entries {
		if isResult(e.Name()) && e.Type().IsRegular() {
			names[e.Name()] = true
		}
	}
	return names, err
}

func (s folderStore) Has(_ context.Context, name string) (bool, error) {
	info, err := os.Lstat(filepath.Join(string(s), name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular(), err
}

func (s folderStore) Put(_ context.Context, path string) error { return copyFile(path, string(s)) }

func (s folderStore) Fetch(_ context.Context, name, dir string) error {
	return copyFile(filepath.Join(string(s), name), dir)
}

func (s folderStore) Remove(_ context.Context, name string) error {
	err := os.Remove(filepath.Join(string(s), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// copyFile copies a file into a folder, unless that is where it is.
func copyFile(path, dir string) error {
	to := filepath.Join(dir, filepath.Base(path))
	if to == filepath.Clean(path) {
		return nil
	}
	f, _, err := regularfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return atomicfile.Write(to, func(w io.Writer) error {
		_, err := io.Copy(w, f)
		return err
	})
}

// objectStore is JetStream's object store, for machines that share nothing.
type objectStore struct{ bucket jetstream.ObjectStore }

func (s *objectStore) Names(ctx context.Context) (map[string]bool, error) {
	list, err := s.bucket.List(ctx)
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		err = nil
	}
	names := map[string]bool{}
	for _, o := range list {
		if isResult(o.Name) {
			names[o.Name] = true
		}
	}
	return names, err
}

func (s *objectStore) Has(ctx context.Context, name string) (bool, error) {
	_, err := s.bucket.GetInfo(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (s *objectStore) Put(ctx context.Context, path string) error {
	f, _, err := regularfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = s.bucket.Put(ctx, jetstream.ObjectMeta{Name: filepath.Base(path)}, f)
	return err
}

func (s *objectStore) Fetch(ctx context.Context, name, dir string) error {
	if strings.ContainsAny(name, `/\`) {
		return fmt.Errorf("part %q: want the name of a file", name)
	}
	o, err := s.bucket.Get(ctx, name)
	if err != nil {
		return err
	}
	defer o.Close()
	return atomicfile.Write(filepath.Join(dir, name), func(w io.Writer) error {
		_, err := io.Copy(w, o)
		return err
	})
}

func (s *objectStore) Remove(ctx context.Context, name string) error {
	err := s.bucket.Delete(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil
	}
	return err
}
