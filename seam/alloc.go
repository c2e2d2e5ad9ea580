package seam

import "github.com/tokencache/tokencache/tensor"

// memory is what passes on a Graph need of this package's small types, kept from pass to pass.
type memory struct {
	tokens      []*Tokens
	usedTokens  int
	modulations []*Modulation
	usedMods    int
}

type memoryKey struct{}

func newMemory() any { return &memory{} }

func memoryOf(g *tensor.Graph) *memory { return g.Scratch(memoryKey{}, newMemory).(*memory) }

// Reset frees everything: the Graph calls it when it is Reset.
func (m *memory) Reset() {
	for _, t := range m.tokens[:m.usedTokens] {
		*t = Tokens{}
	}
	m.usedTokens, m.usedMods = 0, 0
}

// NewTokens returns empty Tokens that are valid until g is Reset.
func NewTokens(g *tensor.Graph) *Tokens {
	m := memoryOf(g)
	if m.usedTokens == len(m.tokens) {
		m.tokens = append(m.tokens, new(Tokens))
	}
	t := m.tokens[m.usedTokens]
	m.usedTokens++
	return t
}

// NewModulation returns a Modulation that is valid until g is Reset.
func NewModulation(g *tensor.Graph) *Modulation {
	m := memoryOf(g)
	if m.usedMods == len(m.modulations) {
		m.modulations = append(m.modulations, new(Modulation))
	}
	t := m.modulations[m.usedMods]
	m.usedMods++
	return t
}
