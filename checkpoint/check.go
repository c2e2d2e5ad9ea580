package checkpoint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Want is a tensor that a model needs.
type Want struct {
	Name     string
	Shape    []int
	Optional bool // may be missing
}

// Lister is a source of named tensors, such as a File.
type Lister interface {
	Names() []string
	Lookup(name string) (Info, bool)
}

// MismatchError says how a checkpoint's tensors differ from those that a model needs.
type MismatchError struct {
	Missing    []string
	Unexpected []string
	Misshapen  []string // each with the shape that it has and the one it should have
	Unreadable []string // each with the reason

	// Cause explains all of it, such as that the weights are quantised, or is nil.
	Cause error
}

// mostNamed bounds how many tensors of a kind an error names.
const mostNamed = 20

func (e *MismatchError) Error() string {
	if e.Cause != nil {
		return e.Cause.Error()
	}
	var parts []string
	add := func(what string, names []string) {
		if len(names) == 0 {
			return
		}
		more := ""
		if n := len(names) - mostNamed; n > 0 {
			names, more = names[:mostNamed], fmt.Sprintf(" and %d more", n)
		}
		parts = append(parts, fmt.Sprintf("%s: %s%s", what, strings.Join(names, ", "), more))
	}
	add(fmt.Sprintf("%d tensors missing", len(e.Missing)), e.Missing)
	add(fmt.Sprintf("%d unexpected", len(e.Unexpected)), e.Unexpected)
	add(fmt.Sprintf("%d of the wrong shape", len(e.Misshapen)), e.Misshapen)
	add(fmt.Sprintf("%d that cannot be used", len(e.Unreadable)), e.Unreadable)
	return strings.Join(parts, "; ")
}

// Check compares the tensors of f with those wanted, which are weights and so of floating-point
// numbers, and returns a *MismatchError of all differences, or nil. Unexpected tensors that ignore,
// which may be nil, reports are passed over, and so are numbers of the training's bookkeeping, such
// as step and ema.num_updates.
func Check(f Lister, wants []Want, ignore func(name string) bool) error {
	var e MismatchError
	known := make(map[string]bool, len(wants))
	for _, w := range wants {
		known[w.Name] = true
		info, ok := f.Lookup(w.Name)
		reason := unreadable(f, w.Name, info, ok)
		switch {
		case reason != nil && (ok || !w.Optional):
			e.Unreadable = append(e.Unreadable, fmt.Sprintf("%s: %v", w.Name, reason))
		case !ok && !w.Optional:
			e.Missing = append(e.Missing, w.Name)
		case ok && !slices.Equal(info.Shape, w.Shape):
			e.Misshapen = append(e.Misshapen, fmt.Sprintf("%s: shape %v, want %v", w.Name, info.Shape, w.Shape))
		}
	}
	for _, name := range f.Names() {
		if !known[name] && !bookkeeping(f, name) && (ignore == nil || !ignore(name)) {
			e.Unexpected = append(e.Unexpected, name)
		}
	}
	if len(e.Missing)+len(e.Unexpected)+len(e.Misshapen)+len(e.Unreadable) > 0 {
		e.Cause = Quantised(f)
		return &e
	}
	return nil
}

// counted matches the last part of a name that trainers give to a number which they keep with the
// weights: of steps, of epochs, of an average of the weights.
var counted = regexp.MustCompile(`(?i)(^|\.|_)(steps?|epochs?|iter(ation)?s?|(num_)?updates|n_averaged|` +
	`num_batches_tracked|decay|initted|(samples|images)_seen)$`)

// bookkeeping reports whether a tensor is a single number that no model computes with.
func bookkeeping(f Lister, name string) bool {
	if !counted.MatchString(name) {
		return false
	}
	info, _ := f.Lookup(name)
	for _, n := range info.Shape {
		if n != 1 {
			return false
		}
	}
	return true
}

// unreadable says why the tensor called name, which f describes by info if it has one, cannot be a
// weight, or nil.
func unreadable(f Lister, name string, info Info, found bool) error {
	file, ok := f.(interface{ Unreadable(string) error })
	if !ok {
		return nil
	}
	err := file.Unreadable(name)
	switch {
	case err == errMissing:
		return nil
	case err == nil && found && !info.DType.Float():
		return fmt.Errorf("elements of type %s, want floating-point numbers: quantised weights cannot be run",
			info.DType)
	}
	return err
}
