collect_ignore = ["bank_cases.py"]
