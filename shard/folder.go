package shard

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Folder is the parts in some folders, by the run that they are of.
type Folder struct {
	Runs    []*Parts // those with the most images first
	Damaged []error  // of files that are named as parts and are not whole
}

// Parts are the parts there are of one run. Where spans overlap, images come from either: they are
// the same.
type Parts struct {
	Run   Run
	Parts []*Described // by their first image; of equal ones the longest first
}

// Described is what a part's file says of itself, without being open.
type Described struct {
	Part
	Path    string
	Network string // which its outputs are of, or ""
}

// Scan describes the parts in the folders.
func Scan(dirs ...string) (*Folder, error) {
	f, runs := &Folder{}, map[key]*Parts{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !IsName(e.Name()) {
				continue
			}
			p, err := describe(filepath.Join(dir, e.Name()))
			if err != nil {
				f.Damaged = append(f.Damaged, err)
				continue
			}
			r := runs[p.Run.key()]
			if r == nil {
				r = &Parts{Run: p.Run}
				runs[p.Run.key()] = r
				f.Runs = append(f.Runs, r)
			}
			r.Parts = append(r.Parts, p)
		}
	}
	for _, r := range f.Runs {
		slices.SortFunc(r.Parts, func(a, b *Described) int {
			return cmp.Or(cmp.Compare(a.Span.First, b.Span.First), cmp.Compare(b.Span.End, a.Span.End))
		})
		r.Run = r.Parts[0].Run // its settings are those of the first part
	}
	slices.SortStableFunc(f.Runs, func(a, b *Parts) int {
		return cmp.Or(cmp.Compare(b.covered(), a.covered()), strings.Compare(a.Run.Identity, b.Run.Identity))
	})
	return f, nil
}

func describe(path string) (*Described, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return &Described{Part: f.Part, Path: path, Network: f.OutputsOf()}, nil
}

// Missing returns the spans that no part holds.
func (r *Parts) Missing() []Span {
	var missing []Span
	at := 0
	for _, p := range r.Parts {
		if p.Span.First > at {
			missing = append(missing, Span{at, p.Span.First})
		}
		at = max(at, p.Span.End)
	}
	if at < r.Run.Images {
		missing = append(missing, Span{at, r.Run.Images})
	}
	return missing
}

// covered is the number of images that there are.
func (r *Parts) covered() int {
	n := r.Run.Images
	for _, s := range r.Missing() {
		n -= s.Len()
	}
	return n
}

// piece is the images that are taken from one part.
type piece struct {
	*Described
	take Span
}

// pieces returns where every image is taken from, in order, if none is missing: as few parts as
// there can be.
func (r *Parts) pieces() []piece {
	var list []piece
	for at := 0; at < r.Run.Images; {
		var best *Described
		for _, p := range r.Parts {
			if p.Span.First > at {
				break
			}
			if p.Span.End > at && (best == nil || p.Span.End > best.Span.End) {
				best = p
			}
		}
		list = append(list, piece{best, Span{at, best.Span.End}})
		at = best.Span.End
	}
	return list
}

// Choose returns the parts of the run whose identity begins with prefix, which are complete.
// Without a prefix it is the only run that is complete. The error of a run that is not names the
// images that are missing, and what the parts of other runs hold instead.
func (f *Folder) Choose(prefix string) (*Parts, error) {
	if len(f.Runs) == 0 {
		return nil, errors.Join(append([]error{errors.New("there are no parts")}, f.Damaged...)...)
	}
	var complete []*Parts
	best := (*Parts)(nil)
	for _, r := range f.Runs {
		if !strings.HasPrefix(r.Run.Identity, prefix) {
			continue
		}
		if best == nil {
			best = r
		}
		if len(r.Missing()) == 0 {
			complete = append(complete, r)
		}
	}
	switch {
	case best == nil:
		return nil, fmt.Errorf("there are no parts of a run whose identity begins with %q", prefix)
	case len(complete) == 1:
		return complete[0], nil
	case len(complete) > 1:
		return nil, &AmbiguousError{complete}
	}
	return nil, f.incomplete(best)
}

// AmbiguousError reports that there are several whole runs.
type AmbiguousError struct{ Runs []*Parts }

func (e *AmbiguousError) Error() string {
	var list []string
	for _, r := range e.Runs {
		text := r.Run.Identity
		if _, how, differs := e.Runs[0].Run.differs(r.Run); differs {
			text += fmt.Sprintf(" (%s)", how)
		}
		list = append(list, text)
	}
	return fmt.Sprintf("there are %d whole runs: say which: %s", len(e.Runs), strings.Join(list, ", "))
}

// IncompleteError reports images of a run that no part holds.
type IncompleteError struct {
	Run     Run
	Missing []Span
	Shards  int     // into which the run is divided, where that can be told; else 0
	Others  []error // what is there instead
}

func (f *Folder) incomplete(r *Parts) *IncompleteError {
	e := &IncompleteError{Run: r.Run, Missing: r.Missing(), Others: append(f.Foreign(r), f.Damaged...)}
	var spans []Span
	for _, p := range r.Parts {
		spans = append(spans, p.Span)
	}
	e.Shards = shardsOf(spans, r.Run.Images)
	return e
}

func (e *IncompleteError) Error() string {
	var lines, shards []string
	for _, s := range e.Missing {
		lines = append(lines, s.String())
	}
	missing := 0
	if e.Shards > 0 {
		for i := 1; i <= e.Shards; i++ {
			of := Of(i, e.Shards, e.Run.Images)
			if of.Len() > 0 && slices.ContainsFunc(e.Missing, func(s Span) bool { return s.Contains(of.First) }) {
				shards = append(shards, fmt.Sprintf("%d/%d", i, e.Shards))
			}
		}
	}
	for _, s := range e.Missing {
		missing += s.Len()
	}
	text := fmt.Sprintf("%d of the run's %d images are missing: %s", missing, e.Run.Images, strings.Join(lines, ", "))
	if len(shards) > 0 {
		text += "; shards " + strings.Join(shards, ", ")
	}
	for _, other := range e.Others {
		text += "\n" + other.Error()
	}
	return text
}

// Foreign says of each part of another run which images it holds and how its run differs.
func (f *Folder) Foreign(r *Parts) []error {
	var list []error
	for _, o := range f.Runs {
		if o == r {
			continue
		}
		_, how, _ := r.Run.differs(o.Run)
		for _, p := range o.Parts {
			list = append(list, fmt.Errorf("part %s: %v of another run: %s", p.Path, p.Span, how))
		}
	}
	return list
}

// Differs says how run o is another than r; "" if it is the same.
func (r Run) Differs(o Run) string {
	_, how, _ := r.differs(o)
	return how
}

// differs returns the first setting, or else the first other thing, in which run o differs.
func (r Run) differs(o Run) (what, how string, differs bool) {
	say := func(what string, got, want any) (string, string, bool) {
		return what, fmt.Sprintf("its %s is %v, this run's %v", what, got, want), true
	}
	if r.Identity != o.Identity {
		for _, t := range r.Texts() {
			if got := o.Settings[t.Key]; got != t.Value {
				return say(t.Key, fmt.Sprintf("%q", got), fmt.Sprintf("%q", t.Value))
			}
		}
		for _, t := range o.Texts() {
			if _, ok := r.Settings[t.Key]; !ok {
				return say(t.Key, fmt.Sprintf("%q", t.Value), `""`)
			}
		}
		return say("identity (content of the policy, the autoencoder or the noise)", o.Identity, r.Identity)
	}
	switch {
	case r.Images != o.Images:
		return say("number of images", o.Images, r.Images)
	case r.Classes != o.Classes:
		return say("list of classes", "another", "as asked for")
	case r.Labels != o.Labels:
		return say("having labels", o.Labels, r.Labels)
	}
	return "", "", false
}
