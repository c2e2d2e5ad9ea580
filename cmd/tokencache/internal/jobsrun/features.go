package jobsrun

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/digest"
	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/shard"
)

// featureImages is how many images a task of features has: whole batches of all networks, and so
// few that a part keeps the features of all, from which the sums become those of one process, bit
// for bit.
const featureImages = 1024

// Features are the sets of images of an evaluation, and the network that evaluates them.
type Features struct {
	Network            eval.Network
	Samples, Reference eval.Images
	Threads            int
}

// featureTask is a span of one of the sets.
type featureTask struct {
	Reference bool `json:"reference,omitempty"`
	shard.Span
}

func (f *Features) set(reference bool) eval.Images {
	if reference {
		return f.Reference
	}
	return f.Samples
}

// Identity tells the sets and the network from others, as far as their sizes, their labels and some
// of their images tell.
func (f *Features) Identity() (string, error) {
	of := []any{f.Network.Identity()}
	for _, s := range []eval.Images{f.Samples, f.Reference} {
		of = append(of, s.Count, shard.ClassHash(wide(s.Labels)))
		if s.Known != nil {
			continue // nobody looks at its images
		}
		for i := 0; i < s.Count; i += max(1, (s.Count-1)/4) {
			m, err := s.Image(i)
			if err != nil {
				return "", err
			}
			hash, err := pixelHash(m)
			if err != nil {
				return "", err
			}
			of = append(of, hash)
		}
	}
	return digest.Of(of...), nil
}

func wide(labels []int32) []int64 {
	list := make([]int64, len(labels))
	for i, v := range labels {
		list[i] = int64(v)
	}
	return list
}

// pixelHash is a hash of an image's pixels.
func pixelHash(m image.Image) (string, error) {
	h := sha256.New()
	err := png.Encode(h, m)
	return hex.EncodeToString(h.Sum(nil)), err
}

// Check reports that the sets are not those identified by of.
func (f *Features) Check(of string) error {
	own, err := f.Identity()
	if err == nil && own != of {
		err = fmt.Errorf("it has other images or another network: they are %s, want %s", own, of)
	}
	return err
}

// Do returns what the network says of the images of a task, as an archive.
func (f *Features) Do(ctx context.Context, _ string, text json.RawMessage) ([]byte, error) {
	var t featureTask
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("task: %w", err)
	}
	set := f.set(t.Reference)
	if t.First < 0 || t.Len() < 1 || t.End > set.Count {
		return nil, fmt.Errorf("task: images %d to %d of %d", t.First, t.End-1, set.Count)
	}
	images := eval.Images{Count: t.Len(), Image: func(i int) (image.Image, error) { return set.Image(t.First + i) }}
	part, err := eval.PredictPart(ctx, f.Network, images, t.First, set.Count, f.Threads)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tokencache-features-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "part.npz")
	if err := npz.Write(path, part.Put); err != nil {
		return nil, err
	}
	return regularfile.Read(path, math.MaxInt64)
}

// Predict has the network run elsewhere on all images that it has not seen, and sets what is known
// of them.
func (f *Features) Predict(ctx context.Context, remote Tasks) error {
	of, err := f.Identity()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tokencache-features-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, reference := range []bool{true, false} {
		set := f.set(reference)
		if set.Count == 0 || set.Known != nil && set.Known.Network == f.Network.Identity() {
			continue
		}
		j := &joiner{dir: dir, of: set.Count, waiting: map[int]shard.Span{}}
		if err := j.fetch(ctx, remote, of, reference); err != nil {
			return err
		}
		if set.Known, err = j.merger.Predictions(); err != nil {
			return err
		}
		if reference {
			f.Reference = set
		} else {
			f.Samples = set
		}
	}
	return nil
}

// joiner joins the parts of a set in their order as they come in another.
type joiner struct {
	dir     string // where parts wait for those before them
	of      int    // images of the set
	next    int    // image
	waiting map[int]shard.Span
	merger  eval.Merger
}

// fetch has the tasks of the set done.
func (j *joiner) fetch(ctx context.Context, remote Tasks, of string, reference bool) error {
	spans := shard.Spans(j.of, featureImages)
	tasks := make([]json.RawMessage, len(spans))
	for i, s := range spans {
		var err error
		if tasks[i], err = json.Marshal(featureTask{reference, s}); err != nil {
			return err
		}
	}
	var failures []error
	err := remote(ctx, of, tasks, func(i int, result []byte, failed error) error {
		if failed != nil {
			failures = append(failures, fmt.Errorf("%v: %w", spans[i], failed))
			return nil
		}
		j.waiting[spans[i].First] = spans[i]
		if err := os.WriteFile(j.path(spans[i]), result, 0o666); err != nil {
			return err
		}
		return j.join()
	})
	return errors.Join(append(failures, err)...)
}

func (j *joiner) path(s shard.Span) string {
	return filepath.Join(j.dir, fmt.Sprintf("%d.npz", s.First))
}

// join joins the parts that are next.
func (j *joiner) join() error {
	for {
		s, there := j.waiting[j.next]
		if !there {
			return nil
		}
		a, err := npz.Open(j.path(s))
		if err != nil {
			return err
		}
		part, err := eval.ReadPart(a, s.First, s.Len(), j.of)
		if err == nil && part == nil {
			err = fmt.Errorf("%v: a result without features", s)
		}
		if err := errors.Join(err, a.Close(), os.Remove(j.path(s))); err != nil {
			return err
		}
		if err := j.merger.Add(part); err != nil {
			return err
		}
		delete(j.waiting, j.next)
		j.next = s.End
	}
}
