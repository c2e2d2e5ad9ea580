// Package comparison runs cache policies beside each other on one model, from the same noise, and measures speed and quality. What is finished stays in a folder and is not run again. It may use the library, the
// judge and the types of the report; it draws no charts and prints nothing.
package comparison
