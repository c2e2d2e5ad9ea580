package checkpoint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// wrapper matches the words that torch.compile, activation checkpointing and FSDP put into the
// names of a module's tensors where they wrap it. They may wrap parts of a network:
// blocks.0._orig_mod.attn.qkv.weight.
var wrapper = regexp.MustCompile(`(^|\.)((_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module|_fpw_module)\.)+`)

// unwrapped returns a set's contents without wrappers' words in the names. It fails if two tensors
// then have one name.
func (c *contents) unwrapped() (*contents, error) {
	if !slices.ContainsFunc(c.names, wrapper.MatchString) {
		return c, nil
	}
	plain := &contents{
		tensors: make(map[string]*stored, len(c.names)),
		names:   make([]string, 0, len(c.names)),
		foreign: make(map[string]string, len(c.foreign)),
		wrapped: true,
	}
	for _, name := range c.names {
		t := *c.tensors[name]
		t.Name = withoutWrappers(name)
		if plain.tensors[t.Name] != nil {
			return nil, fmt.Errorf("tensor %s is there twice, with and without the words of wrappers such as %q",
				t.Name, "_orig_mod")
		}
		plain.add(&t)
	}
	for name, what := range c.foreign {
		plain.foreign[withoutWrappers(name)] = what
	}
	return plain, nil
}

func withoutWrappers(name string) string {
	if !strings.Contains(name, "_mod") {
		return name
	}
	return wrapper.ReplaceAllString(name, "$1")
}

// unwrappedSets returns sets without wrappers' words in the names of their tensors.
func unwrappedSets(sets []*set) ([]*set, error) {
	done := map[*contents]*contents{}
	all := make([]*set, len(sets))
	for i, s := range sets {
		if done[s.contents] == nil {
			var err error
			if done[s.contents], err = s.unwrapped(); err != nil {
				return nil, err
			}
		}
		all[i] = &set{s.path, done[s.contents]}
	}
	return all, nil
}
