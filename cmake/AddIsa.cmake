# The only place that knows which instruction sets exist and which compiler flags each of them needs.
#
# One line of CONV3D_ISAS is "name|flags of gcc and clang|flags of MSVC", best first. For each, kernels/isa_<name>.cpp is
# compiled with its flags and with CONV3D_ISA=<name> defined; the ordered list of their tables is generated as
# generated/isa_list.inc, one CONV3D_ISA_TABLE(<name>) a line, which kernels/dispatch.cpp reads.
# -mprfchw needs no check: every x86-64 processor takes the instruction, the oldest as one that does nothing.
set(
  CONV3D_ISAS
  "avx512|-march=x86-64 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprfchw -mprefer-vector-width=512|/arch:AVX512"
  "avx2|-march=x86-64 -mavx2 -mfma -mf16c -mprfchw|/arch:AVX2"
  "generic|-march=x86-64|"
)

# Sets `objects_variable` to the object files of all ISAs, and the global property CONV3D_ISA_TARGETS to the object
# libraries they come from.
function(conv3d_add_isas objects_variable)
  set(objects "")
  set(list "")
  set(targets "")
  foreach(line IN LISTS CONV3D_ISAS)
    string(REPLACE "|" ";" fields "${line}")
    list(GET fields 0 name)
    set(source "${PROJECT_SOURCE_DIR}/cpp/src/kernels/isa_${name}.cpp")
    if(NOT EXISTS "${source}")
      message(WARNING "No kernels for ${name}: ${source} does not exist")
      continue()
    endif()
    if(MSVC)
      list(GET fields 2 flags)
    else()
      list(GET fields 1 flags)
    endif()
    separate_arguments(flags NATIVE_COMMAND "${flags}")
    conv3d_add_isa_object(conv3d_isa_${name} ${name} "${source}" "${flags}")
    list(APPEND objects $<TARGET_OBJECTS:conv3d_isa_${name}>)
    list(APPEND targets conv3d_isa_${name})
    string(APPEND list "CONV3D_ISA_TABLE(${name})\n")
  endforeach()
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/generated/isa_list.inc" CONTENT "${list}")
  set_property(GLOBAL PROPERTY CONV3D_ISA_TARGETS "${targets}")
  set(${objects_variable} "${objects}" PARENT_SCOPE)
endfunction()

# One object library from one ISA file. Ordinary flags first, the ISA's flags last so that they win.
function(conv3d_add_isa_object target name source flags)
  add_library(${target} OBJECT "${source}")
  target_compile_definitions(${target} PRIVATE CONV3D_ISA=${name})
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/cpp/src")
  target_link_libraries(${target} PRIVATE conv3d_warnings conv3d_baseline)
  if(NOT MSVC)
    # Kernels are measured code: optimised in every build type, or the tests of a debug build take hours.
    list(PREPEND flags -O3 -fno-exceptions -fno-rtti -fno-threadsafe-statics)
  endif()
  target_compile_options(${target} PRIVATE ${flags})
endfunction()
