/* Prints where one version of CPython keeps its frames, from its internal headers: tools/python_layouts.py compiles it for each. */
#define Py_BUILD_CORE 1
#include <Python.h>
#include <stddef.h>
#include <stdio.h>
#if PY_VERSION_HEX < 0x03090000
#include <internal/pycore_pystate.h>
#else
#include <internal/pycore_interp.h>
#include <internal/pycore_runtime.h>
#endif
#if PY_VERSION_HEX < 0x030B0000
#include <frameobject.h>
#else
#include <internal/pycore_frame.h>
#endif

#define ABSENT 0xffff
#define SHOW(name, value) printf("%s=%zu\n", name, (size_t)(value))

static void threads(void)
{
	SHOW("interpreters", offsetof(_PyRuntimeState, interpreters.head));
	SHOW("next_interpreter", offsetof(PyInterpreterState, next));
#if PY_VERSION_HEX < 0x030B0000
	SHOW("threads", offsetof(PyInterpreterState, tstate_head));
#else
	SHOW("threads", offsetof(PyInterpreterState, threads.head));
#endif
	SHOW("next_thread", offsetof(PyThreadState, next));
	SHOW("thread_id", offsetof(PyThreadState, thread_id));
#if PY_VERSION_HEX < 0x030B0000
	SHOW("native_id", ABSENT);
	SHOW("frame", offsetof(PyThreadState, frame));
	SHOW("current", ABSENT);
#else
	SHOW("native_id", offsetof(PyThreadState, native_thread_id));
#if PY_VERSION_HEX < 0x030D0000
	SHOW("frame", offsetof(PyThreadState, cframe));
	SHOW("current", offsetof(_PyCFrame, current_frame));
#else
	SHOW("frame", offsetof(PyThreadState, current_frame));
	SHOW("current", ABSENT);
#endif
#endif
}

static void lock(void)
{
#if PY_VERSION_HEX < 0x030C0000
	SHOW("lock", ABSENT);
	SHOW("lock_holder", offsetof(_PyRuntimeState, ceval.gil.last_holder));
	SHOW("lock_taken", offsetof(_PyRuntimeState, ceval.gil.locked));
#else
	SHOW("lock", offsetof(PyInterpreterState, ceval.gil));
	SHOW("lock_holder", offsetof(struct _gil_runtime_state, last_holder));
	SHOW("lock_taken", offsetof(struct _gil_runtime_state, locked));
#endif
}

static void frames(void)
{
#if PY_VERSION_HEX < 0x030B0000
	SHOW("frame_code", offsetof(PyFrameObject, f_code));
	SHOW("previous", offsetof(PyFrameObject, f_back));
	SHOW("instruction", offsetof(PyFrameObject, f_lasti));
	SHOW("owner", ABSENT);
#else
#if PY_VERSION_HEX < 0x030D0000
	SHOW("frame_code", offsetof(_PyInterpreterFrame, f_code));
	SHOW("instruction", offsetof(_PyInterpreterFrame, prev_instr));
#else
	SHOW("frame_code", offsetof(_PyInterpreterFrame, f_executable));
	SHOW("instruction", offsetof(_PyInterpreterFrame, instr_ptr));
#endif
	SHOW("previous", offsetof(_PyInterpreterFrame, previous));
	SHOW("owner", offsetof(_PyInterpreterFrame, owner));
#endif
}

static void code(void)
{
	SHOW("type", offsetof(PyObject, ob_type));
	SHOW("file", offsetof(PyCodeObject, co_filename));
	SHOW("first_line", offsetof(PyCodeObject, co_firstlineno));
#if PY_VERSION_HEX < 0x030B0000
	SHOW("name", offsetof(PyCodeObject, co_name));
	SHOW("bytecode", ABSENT);
#else
	SHOW("name", offsetof(PyCodeObject, co_qualname));
	SHOW("bytecode", offsetof(PyCodeObject, co_code_adaptive));
#endif
#if PY_VERSION_HEX < 0x030A0000
	SHOW("lines", offsetof(PyCodeObject, co_lnotab));
#else
	SHOW("lines", offsetof(PyCodeObject, co_linetable));
#endif
}

static void texts(void)
{
	SHOW("text_length", offsetof(PyASCIIObject, length));
	SHOW("text_state", offsetof(PyASCIIObject, state));
	SHOW("text_ascii", sizeof(PyASCIIObject));
	SHOW("text_other", sizeof(PyCompactUnicodeObject));
	SHOW("bytes_size", offsetof(PyVarObject, ob_size));
	SHOW("bytes_data", offsetof(PyBytesObject, ob_sval));
}

int main(void)
{
	threads();
	lock();
	frames();
	code();
	texts();
	return 0;
}
