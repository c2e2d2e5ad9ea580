package models

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

// ResolvePolicy returns the policy that a user names, for a model of a bundle or, with nil,
// another:
//
//	none, fora, tokencache:k=3,...   a method, as reuse.Parse reads it
//	ddim50-2.4x                      a policy of the bundle
//	./fora, policies/fast            the folder of a calibrated policy
//
// A name without a path separator is a method first, then a policy of the bundle, then a folder.
func ResolvePolicy(b *bundle.Bundle, text string) (reuse.Policy, error) {
	p, err := NamedPolicy(b, text)
	if unknown := (*UnknownError)(nil); errors.As(err, &unknown) {
		if isFolder(text) {
			t, err := reuse.Open(text)
			if err != nil {
				return nil, err // and no policy, where t would be one that is nil
			}
			return t, nil
		}
		unknown.Or = "the folder of a calibrated policy"
	}
	return p, err
}

// NamedPolicy is ResolvePolicy without folders: whatever the text is, it reads no file.
func NamedPolicy(b *bundle.Bundle, text string) (reuse.Policy, error) {
	name, _, _ := strings.Cut(text, ":")
	methods := Methods()
	if slices.Contains(methods, name) {
		return reuse.Parse(text)
	}
	bundled, err := b.Policies()
	if err != nil {
		return nil, err
	}
	for _, t := range bundled {
		if t.String() == text {
			return t, nil
		}
	}
	unknown := &UnknownError{Kind: "policy", Name: name, Known: methods}
	for _, t := range bundled {
		unknown.Known = append(unknown.Known, t.String())
	}
	return nil, unknown
}

// Methods lists the methods that reuse.Parse reads.
func Methods() []string {
	var names []string
	for _, m := range reuse.Methods() {
		names = append(names, m.Name)
	}
	return names
}

// isFolder reports whether a text is the name of a folder, or has a path separator and so must be.
func isFolder(text string) bool {
	info, err := os.Stat(text)
	return err == nil && info.IsDir() || strings.ContainsAny(text, "/"+string(os.PathSeparator))
}

// FormatUnder returns the number format that "auto" means under a policy: what calibration chose
// for it (reuse.Format), except that a promised PSNR was calibrated in float32, and that a packed
// file, and portable code, which has no instructions for fewer bits, stay as they are.
func FormatUnder(policy reuse.Policy, packed bool, minPSNR float64) tokencache.DType {
	if packed || minPSNR > 0 || kernel.ActiveLevel() == kernel.Generic {
		return tokencache.F32
	}
	return reuse.Format(policy)
}
