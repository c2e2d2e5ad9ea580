package seam

// Adopter is a Model whose conditions are prepared for it, which those of another Model of the same
// weights can be made to be.
type Adopter interface {
	Model
	// Adopt returns conditions as the model's own. It leaves those of other weights as they are, and
	// does not change the list.
	Adopt(list []Condition) ([]Condition, error)
}

// Adopt returns conditions of any models of m's weights, perhaps in other number formats, as m's
// own.
func Adopt(m Model, list []Condition) ([]Condition, error) {
	if a, ok := m.(Adopter); ok {
		return a.Adopt(list)
	}
	return list, nil
}
